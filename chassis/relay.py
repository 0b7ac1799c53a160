"""Outbox to Kafka, in id order, at least once: a row counts as sent when its own delivery report came back good."""

import asyncio

import asyncpg
import structlog
from sqlalchemy.engine import make_url

from chassis import telemetry
from chassis.avro import frame
from chassis.broker import Broker
from chassis.database import OUTBOX_CHANNEL
from chassis.outbox import load_headers
from chassis.record import EVENT_TYPES
from chassis.registry import Registry
from chassis.relay_producer import OrderedProducer, Outgoing

BATCH = 1_000
BATCH_BYTES = 2**23
SAFETY_POLL_SECONDS = 1.0
STANDBY_SECONDS = 0.5
RETRY_SECONDS = 1.0
ADVISORY_LOCK = 0x66616E6F7574
"""One active relay per database; a crash of its session frees the lock."""

# A thousand dead letters can be a gigabyte. One row there is always, however large.
NEXT_ROWS = """
    SELECT * FROM (
        SELECT id, topic, type, key, payload, schema_version, headers,
            coalesce(sum(coalesce(octet_length(payload), 0) + octet_length(headers)) OVER before_it, 0) AS bytes_before
        FROM outbox WHERE published_at IS NULL
        WINDOW before_it AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ORDER BY id LIMIT $1
    ) AS unpublished
    WHERE bytes_before < $2 ORDER BY id
"""
MARK_SENT = """
    UPDATE outbox SET published_at = clock_timestamp(), kafka_partition = sent.partition, kafka_offset = sent.position
    FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS sent (id, partition, position) WHERE outbox.id = sent.id
"""

SESSION = {
    # Every statement looks rows up by key; without this, a planner that has no statistics yet reads the whole table.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # A lost mark means that a row is sent again, which is harmless; so no turn waits for the disk.
    "synchronous_commit": "off",
}

log = structlog.get_logger()


class Relay:
    """Sends what `publish` wrote. Any number may run; one per database is active."""

    def __init__(self, service: str, database_url: str, kafka: Broker, registry: Registry) -> None:
        self._service = service
        self._dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._registry = registry
        self._producer = OrderedProducer(kafka)
        self._awake = asyncio.Event()
        self._is_active = False

    @property
    def is_active(self) -> bool:
        """Whether this relay is the one that sends, of all that run for this database."""
        return self._is_active

    def wake(self) -> None:
        """Says that rows were committed. Harmless on standby; without it the relay finds them within a second."""
        self._awake.set()

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._session(stop)
            except Exception as error:  # last resort of this loop: whatever it was, the rows are still there
                log.warning("relay_interrupted", error=f"{type(error).__name__}: {error}"[:300])
                await _wait(RETRY_SECONDS, stop)

    async def _session(self, stop: asyncio.Event) -> None:
        settings = SESSION | {"application_name": f"{self._service}-relay"}
        connection = await asyncpg.connect(self._dsn, timeout=5, server_settings=settings)
        stopping = asyncio.create_task(self._wake_on(stop))
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
                if await _wait(STANDBY_SECONDS, stop):
                    return
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: self.wake())
            self._producer.connect()
            self._is_active = True
            log.info("relay_active")
            while not stop.is_set():
                self._awake.clear()
                if not await self._move(connection, stop):
                    await _wait(SAFETY_POLL_SECONDS, self._awake)
        finally:
            self._is_active = False
            stopping.cancel()
            connection.terminate()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()

    async def _move(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        """Whether it was as much as goes at once, so that there may be more."""
        rows = await connection.fetch(NEXT_ROWS, BATCH, BATCH_BYTES)
        if not rows:
            return False
        outgoing = [await self._outgoing(row) for row in rows]
        sent = await asyncio.to_thread(self._producer.send, outgoing, stop)
        await connection.execute(
            MARK_SENT,
            [report.id for report in sent],
            [report.partition for report in sent],
            [report.offset for report in sent],
        )
        telemetry.RELAYED.labels(self._service).inc(len(sent))
        if len(sent) < len(outgoing):
            raise ConnectionError(f"{len(outgoing) - len(sent)} of {len(outgoing)} events not delivered")
        return len(rows) == BATCH or rows[-1]["bytes_before"] + _bytes(rows[-1]) >= BATCH_BYTES

    async def _outgoing(self, row: asyncpg.Record) -> Outgoing:
        value = row["payload"]
        if row["type"] is not None:
            schema_id = await self._registry.schema_id(EVENT_TYPES[row["type"]], row["schema_version"])
            value = frame(schema_id, value)
        return Outgoing(row["id"], row["topic"], row["key"], value, [*load_headers(row["headers"])])


def _bytes(row: asyncpg.Record) -> int:
    return len(row["payload"] or b"") + len(row["headers"])


async def _wait(seconds: float, event: asyncio.Event) -> bool:
    """Returns True if the event came within that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
