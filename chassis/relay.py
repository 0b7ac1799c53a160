"""Outbox to Kafka, in id order, at least once: a row counts as sent when its own delivery report came back good."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from sqlalchemy.engine import make_url

from chassis import telemetry
from chassis.avro import frame
from chassis.broker import Broker
from chassis.database import OUTBOX_CHANNEL
from chassis.outbox import load_headers
from chassis.record import EVENT_TYPES
from chassis.registry import Registry

BATCH = 1_000
BATCH_BYTES = 2**23
SAFETY_POLL_SECONDS = 1.0
STANDBY_SECONDS = 0.5
RETRY_SECONDS = 1.0
ADVISORY_LOCK = 0x66616E6F7574
"""One active relay per database; a crash of its session frees the lock."""

PRODUCER = {
    "enable.idempotence": True,
    # A gap is a fatal error: without this, a message that timed out is skipped and sent later, out of order.
    "enable.gapless.guarantee": True,
    "acks": "all",
    # Where Java and aiokafka put a key; librdkafka's default differs.
    "partitioner": "murmur2_random",
    "delivery.timeout.ms": 10_000,
    "linger.ms": 2,
    "message.max.bytes": 2_097_152,
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 4,
}

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

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outgoing:
    id: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Sent:
    id: int
    partition: int
    offset: int


class Relay:
    """Sends what `publish` wrote. Any number may run; one per database is active."""

    def __init__(self, service: str, database_url: str, kafka: Broker, registry: Registry) -> None:
        self._service = service
        self._dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._kafka = kafka
        self._registry = registry
        self._producer: Producer | None = None
        self._woken = asyncio.Event()
        self.is_active = False

    def wake(self) -> bool:
        """Makes the relay look for rows now; returns False if another process has the active one."""
        self._woken.set()
        return self.is_active

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._session(stop)
            except Exception as error:  # last resort of this loop: whatever it was, the rows are still there
                log.warning("relay_interrupted", error=f"{type(error).__name__}: {error}"[:300])
                await _wait(RETRY_SECONDS, stop)

    async def _session(self, stop: asyncio.Event) -> None:
        connection = await asyncpg.connect(
            self._dsn, timeout=5, server_settings={"application_name": f"{self._service}-relay"}
        )
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", ADVISORY_LOCK):
                if await _wait(STANDBY_SECONDS, stop):
                    return
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: self._woken.set())
            self._producer = self._producer or self._new_producer()
            log.info("relay_active")
            self.is_active = True
            while not stop.is_set():
                self._woken.clear()
                if not await self._move(connection, stop):
                    await _wait(SAFETY_POLL_SECONDS, self._woken, stop)
        finally:
            self.is_active = False
            connection.terminate()

    async def _move(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        """Whether it was as much as goes at once, so that there may be more."""
        rows = await connection.fetch(NEXT_ROWS, BATCH, BATCH_BYTES)
        if not rows:
            return False
        outgoing = [await self._outgoing(row) for row in rows]
        sent = await asyncio.to_thread(self._send, outgoing, stop)
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

    def _new_producer(self) -> Producer:
        return Producer(PRODUCER | self._kafka.for_librdkafka(), logger=logging.getLogger("librdkafka"))

    def _send(self, outgoing: Sequence[Outgoing], stop: asyncio.Event) -> list[Sent]:
        """Runs in a thread. After any failure the producer is thrown away, and with it all it still holds."""
        sent: list[Sent] = []
        failed: list[str] = []
        producer = self._producer = self._producer or self._new_producer()
        try:
            for message in outgoing:
                _produce(producer, message, sent, failed, stop)
            while len(producer) and not failed and not stop.is_set():
                producer.poll(0.1)
        except KafkaException as error:
            failed.append(str(error))
        if len(sent) < len(outgoing):
            producer.purge()
            producer.poll(0)
            self._producer = None
            log.warning(
                "delivery_failed",
                undelivered=len(outgoing) - len(sent),
                error=failed[0] if failed else "stopping",
            )
        return sent


def _bytes(row: asyncpg.Record) -> int:
    return len(row["payload"] or b"") + len(row["headers"])


def _produce(
    producer: Producer, message: Outgoing, sent: list[Sent], failed: list[str], stop: asyncio.Event
) -> None:
    def report(error: KafkaError | None, delivered: Message) -> None:
        if error is not None:
            failed.append(str(error))
            return
        sent.append(Sent(message.id, delivered.partition() or 0, delivered.offset() or 0))

    while not failed and not stop.is_set():
        try:
            producer.produce(
                message.topic, message.value, message.key, on_delivery=report, headers=message.headers
            )
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


async def _wait(seconds: float, *events: asyncio.Event) -> bool:
    """Whether one of them came within that time."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        done, _ = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return bool(done)
    finally:
        for wait in waits:
            wait.cancel()
