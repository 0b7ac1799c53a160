"""Databases of programs outside services/, such as those in examples/; `fanout setup --prune` leaves them alone."""

from secrets import token_hex

from fanout.provision.databases import TIMEOUTS, ensure_login, superuser
from fanout.provision.steps import Servers


async def make(servers: Servers, login: str, database: str) -> str:
    """Creates what is missing and returns the URL, with a new password. The two names must not be the same."""
    password = token_hex(16)
    async with superuser(servers.postgres_port, servers.passwords["postgres"], servers.postgres_host) as db:
        await ensure_login(db, login, password, TIMEOUTS)
        if not await db.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
            await db.execute(f"CREATE DATABASE {database} OWNER {login}")
        await db.execute(f"REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    return f"postgresql://{login}:{password}@{servers.postgres_host}:{servers.postgres_port}/{database}"


async def drop(servers: Servers, login: str, database: str) -> None:
    """Ends the database's connections; does nothing if there is neither database nor login."""
    async with superuser(servers.postgres_port, servers.passwords["postgres"], servers.postgres_host) as db:
        await db.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        await db.execute(f"DROP ROLE IF EXISTS {login}")
