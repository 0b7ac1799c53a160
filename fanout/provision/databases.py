"""One database and one login per service, with the time-outs that keep a stuck process from blocking others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from fanout.local.ports import HOST

# A frozen consumer holds its inbox row: without these its successor waits as long as it is frozen.
TIMEOUTS = {"idle_in_transaction_session_timeout": "5s", "lock_timeout": "3s", "statement_timeout": "15s"}


@asynccontextmanager
async def superuser(
    port: int, password: str, host: str = HOST, database: str = "postgres"
) -> AsyncIterator[asyncpg.Connection]:
    connection: asyncpg.Connection = await asyncpg.connect(
        host=host, port=port, user="postgres", password=password, database=database, timeout=5
    )
    try:
        yield connection
    finally:
        await connection.close()


async def ensure(db: asyncpg.Connection, name: str, password: str, timeouts: dict[str, str]) -> list[str]:
    """The login owns its database, and nobody else may connect to it."""
    changes = await ensure_login(db, name, password, timeouts)
    if not await db.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await db.execute(f"CREATE DATABASE {name} OWNER {name}")
        changes.append(f"database {name}")
    await db.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC")
    return changes


async def ensure_login(
    db: asyncpg.Connection, name: str, password: str, timeouts: dict[str, str]
) -> list[str]:
    is_new = not await db.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
    if is_new:
        await db.execute(f"CREATE ROLE {name} LOGIN")
    await db.execute(f"ALTER ROLE {name} PASSWORD '{password}'")
    for setting, value in timeouts.items():
        await db.execute(f"ALTER ROLE {name} SET {setting} = '{value}'")
    return [f"login {name}"] * is_new


async def close_to_services(db: asyncpg.Connection) -> None:
    await db.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
