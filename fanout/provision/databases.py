"""Databases: one with one login per service, its migrations, and the subscriptions that these declare."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import asyncpg

from fanout.environment import for_process
from fanout.errors import SetupFailed
from fanout.local.ports import HOST
from fanout.repository import REPOSITORY

REGISTRY = "registry"
"""The registry's own database and login."""
READER = "fanout_reader"
"""A role that cannot log in. The logins that `fanout sql` uses may take it; it may read nothing but masked views."""
# A frozen consumer keeps its inbox row locked: without these time-outs its successor waits as long as it is frozen.
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


async def ensure_database(
    db: asyncpg.Connection, name: str, password: str, timeouts: dict[str, str]
) -> list[str]:
    """Creates the database and its owner of the same name; no other login may connect to it."""
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


async def ensure_reader(db: asyncpg.Connection, logins: Iterable[str]) -> list[str]:
    """Creates the role of `fanout sql`, which cannot log in and has no rights, and lets these logins take it."""
    is_new = not await db.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", READER)
    if is_new:
        await db.execute(f"CREATE ROLE {READER} NOLOGIN")
    for login in logins:
        await db.execute(f"GRANT {READER} TO {login} WITH INHERIT FALSE, SET TRUE")
    return [f"role {READER}"] * is_new


def migrate(urls: dict[str, str]) -> list[str]:
    """Runs the migrations of each service in one process, because importing them takes longer than running them."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(urls),
        cwd=REPOSITORY,
        env=for_process({}),
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise SetupFailed(done.stderr.strip())
    return done.stdout.splitlines()


async def _migrate_each(urls: dict[str, str]) -> None:
    from chassis.migrations import UnknownRevision, migrate
    from chassis.service import load

    for name, url in urls.items():
        try:
            for change in await migrate(load(name), url):
                print(f"{name}: {change}")
        except UnknownRevision as error:
            sys.exit(str(error))
        except Exception as error:
            sys.exit(f"the migrations failed: {name}: {type(error).__name__}: {error}")


async def subscriptions(urls: dict[str, str]) -> list[tuple[str, str]]:
    """Returns which consumer listens to which topic, as the migrated databases say."""
    found = []
    for url in urls.values():
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            rows = await connection.fetch("SELECT DISTINCT consumer, topic FROM subscriptions ORDER BY 1, 2")
            found += [(row["consumer"], row["topic"]) for row in rows]
        finally:
            await connection.close()
    return found


if __name__ == "__main__":
    asyncio.run(_migrate_each(json.load(sys.stdin)))
