"""Databases of programs outside services/, such as those in examples/; `fanout setup --prune` leaves them alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex

import asyncpg

from fanout.errors import Unreachable
from fanout.provision.databases import TIMEOUTS, ensure_login, superuser
from fanout.provision.steps import Servers


async def make(servers: Servers, login: str, database: str) -> str:
    """Creates what is missing and returns the URL, with a new password. The two names must not be the same.

    Raises Unreachable.
    """
    password = token_hex(16)
    async with _superuser(servers) as db:
        await ensure_login(db, login, password, TIMEOUTS)
        if not await db.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await db.execute(f"CREATE DATABASE {database} OWNER {login}")
        await db.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    return f"postgresql://{login}:{password}@{servers.postgres_host}:{servers.postgres_port}/{database}"


async def drop(servers: Servers, login: str, database: str) -> None:
    """Ends the database's connections; does nothing if there is neither database nor login. Raises Unreachable."""
    async with _superuser(servers) as db:
        await db.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        await db.execute(f"DROP ROLE IF EXISTS {login}")


@asynccontextmanager
async def _superuser(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    host, port = servers.postgres_host, servers.postgres_port
    try:
        async with superuser(port, servers.passwords["postgres"], host) as db:
            yield db
    except OSError as error:
        raise Unreachable("Postgres", f"{host}:{port}") from error
