"""Faults of a service's database: a table that is locked, and a database that is read-only."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.engine import make_url

from fanout.chaos.injection import CannotBegin, Injection
from fanout.running import running

GRACE_SECONDS = 5
"""How much longer than asked Postgres leaves a lock to a process that is frozen; a dead one loses it at once."""


class Lock(Injection):
    """Holds the lock in a session, which ends with this process, and after a while by itself."""

    def __init__(self, target: str, seconds: float) -> None:
        super().__init__()
        self._service, _, self._table = target.partition(".")
        self._longest = f"{round(seconds) + GRACE_SECONDS}s"
        self._session: asyncpg.Connection | None = None

    async def begin(self) -> None:
        timeouts = {"lock_timeout": self._longest, "idle_in_transaction_session_timeout": self._longest}
        self._session = await _connect(self._service, timeouts)
        await self._session.execute("BEGIN")
        try:
            await self._session.execute(f'LOCK TABLE "{self._table}" IN ACCESS EXCLUSIVE MODE')
        except (asyncpg.UndefinedTableError, asyncpg.LockNotAvailableError) as error:
            self._session.terminate()
            raise CannotBegin(f"{self._service}.{self._table} cannot be locked: {error}") from error

    async def end(self) -> None:
        if self._session:
            self._session.terminate()


class ReadOnly(Injection):
    """Makes new sessions read-only by the database's default, and ends the old ones."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    async def begin(self) -> None:
        async with connected(self._service) as db:
            await db.execute(f"ALTER DATABASE {self._service} SET default_transaction_read_only = on")
            await self._end_sessions(db)

    async def end(self) -> None:
        async with connected(self._service, {"default_transaction_read_only": "off"}) as db:
            await db.execute(f"ALTER DATABASE {self._service} RESET default_transaction_read_only")
            await self._end_sessions(db)

    async def _end_sessions(self, db: asyncpg.Connection) -> None:
        """Makes everybody connect again, since a setting of the database is that of new sessions."""
        await db.execute(END_OTHERS, self._service)


@asynccontextmanager
async def connected(
    service: str, settings: dict[str, str] | None = None
) -> AsyncIterator[asyncpg.Connection]:
    """Connects as the service."""
    connection = await _connect(service, settings or {})
    try:
        yield connection
    finally:
        connection.terminate()


async def _connect(service: str, settings: dict[str, str]) -> asyncpg.Connection:
    url = make_url(running().databases[service]).set(drivername="postgresql")
    return await asyncpg.connect(
        url.render_as_string(hide_password=False), timeout=5, server_settings=settings
    )


END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = $1 AND usename = current_user AND pid <> pg_backend_pid()
"""
