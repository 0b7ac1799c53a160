"""One service's Postgres: the engine, and the only place where a transaction is committed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from chassis import pulse, telemetry

metadata = MetaData()
"""The chassis' own tables; every service database has them."""

OUTBOX_CHANNEL = "outbox"
PUBLISHED = "published"

log = structlog.get_logger()


class Database:
    """Transactions for handlers and routes; one that published wakes the relay after its commit."""

    def __init__(self, url: str, pool_size: int = 10, application: str = "fanout") -> None:
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            connect_args={"timeout": 5, "server_settings": {"application_name": application, "jit": "off"}},
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._doorbell = Doorbell(self)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        pulse.beat()
        async with self.engine.connect() as db:
            async with db.begin():
                db.info.pop(PUBLISHED, None)
                yield db
            if facts := db.info.pop(PUBLISHED, None):
                self._doorbell.ring()
                telemetry.log_each(log, "fact_published", facts)

    async def is_reachable(self) -> bool:
        try:
            async with self.engine.connect() as db:
                await db.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            return False
        return True

    async def close(self) -> None:
        await self._doorbell.silence()
        await self.engine.dispose()


def _refuse_closed(_: object, record: ConnectionPoolEntry, __: object) -> None:
    """A connection that Postgres closed is replaced. It costs no round trip, unlike the pool's own ping."""
    if record.driver_connection is None or record.driver_connection.is_closed():
        raise DisconnectionError


class Doorbell:
    """Wakes the relay, outside of every business transaction, once for all that rang meanwhile.

    NOTIFY takes a lock that serializes commits; inside the transaction it would cost writers most of
    their rate. A lost ring is harmless: the relay also looks by itself now and then.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = False
        self._ringing: asyncio.Task[None] | None = None

    def ring(self) -> None:
        self._rung = True
        if self._ringing is None or self._ringing.done():
            self._ringing = asyncio.create_task(self._notify())

    async def silence(self) -> None:
        if self._ringing is not None:
            await asyncio.wait({self._ringing}, timeout=1)

    async def _notify(self) -> None:
        while self._rung:
            self._rung = False
            try:
                async with self._database.engine.connect() as db:
                    await db.execution_options(isolation_level="AUTOCOMMIT")
                    await db.execute(text(f"NOTIFY {OUTBOX_CHANNEL}"))
            except (SQLAlchemyError, OSError) as error:
                log.warning("relay_not_woken", error=str(error))
