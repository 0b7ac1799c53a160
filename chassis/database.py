"""One service's Postgres: the engine, and the only place where a transaction is committed."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import structlog
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from chassis import liveness
from chassis.telemetry import log_each

metadata = MetaData()
"""The chassis' own tables; every service database has them."""

OUTBOX_CHANNEL = "outbox"
PUBLISHED = "published"

log = structlog.get_logger()


class TransactionLost(Exception):
    """Postgres rolled back what should have been committed."""


class Database:
    """Gives out transactions, and wakes the relay after each commit that published something.

    `wake_relay` is set where the relay runs in this process; it returns False while another process's relay is
    the active one, which is then told by NOTIFY.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 10,
        application: str = "fanout",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are Postgres' own, for every session, such as `lock_timeout`."""
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            connect_args={
                "timeout": 5,
                "server_settings": {"application_name": application, "jit": "off", **(settings or {})},
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self.wake_relay: Callable[[], bool] = lambda: False
        # BEGIN and COMMIT are sent by `transaction`: SQLAlchemy's own cost as much as a statement each.
        self._autocommit = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Commits when the block ends well, and rolls back otherwise."""
        liveness.beat()
        async with self._autocommit.connect() as db:
            postgres = driver(db)
            db.info.pop(PUBLISHED, None)
            await postgres.execute("BEGIN")
            try:
                yield db
                if await postgres.execute("COMMIT") != "COMMIT":
                    raise TransactionLost("a statement had failed, and its error was swallowed")
            except BaseException:
                await _roll_back(db)
                raise
            if published := db.info.pop(PUBLISHED, None):
                log_each(log, "event_published", published, _ids)
                if not self.wake_relay():
                    await _notify(postgres)

    async def is_reachable(self) -> bool:
        try:
            async with self.engine.connect() as db:
                await db.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            return False
        return True

    async def close(self) -> None:
        await self.engine.dispose()


def driver(db: AsyncConnection) -> asyncpg.Connection:
    """Returns the connection beneath SQLAlchemy's, for the few statements that every transaction makes."""
    connection: Any = db.sync_connection
    return connection.connection.driver_connection


def _ids(row: Mapping[str, Any]) -> dict[str, object]:
    """Names an outbox row in a log line."""
    return {
        "type": row["type"],
        "topic": row["topic"],
        "order_id": row.get("aggregate_id"),
        "event_id": str(row["event_id"]),
    }


async def _roll_back(db: AsyncConnection) -> None:
    """Leaves the connection fit for the next transaction, or throws it away."""
    postgres = driver(db)
    try:
        if postgres.is_in_transaction():
            await postgres.execute("ROLLBACK")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await db.invalidate()


async def _notify(postgres: asyncpg.Connection) -> None:
    """Wakes the active relay in another process.

    NOTIFY takes a lock that serializes commits: inside the transaction it would cost writers most of their rate.
    A lost one is harmless: the relay also looks by itself now and then.
    """
    with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        await postgres.execute(f"NOTIFY {OUTBOX_CHANNEL}")


def _refuse_closed(_: object, record: ConnectionPoolEntry, __: object) -> None:
    """Replaces a connection that Postgres closed. It costs no round trip, unlike the pool's own ping."""
    if record.driver_connection is None or record.driver_connection.is_closed():
        raise DisconnectionError
