"""The relay sends the rows of the outbox to Kafka in the order of their ids, each at least once.

It reads a batch of unsent rows, frames them, sends them, and marks as sent the rows whose own delivery report is good.
Rows that cannot be sent are set aside (set_aside.py). After any other failure all rows are still there and it starts
again. Any number of relays may run for a database; one of them is active (terms.py).
"""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import structlog

from chassis.config import Broker
from chassis.database import OUTBOX_CHANNEL
from chassis.events.kafka_topics import KafkaTopics
from chassis.events.registry import Registry
from chassis.outbox.framing import messages
from chassis.outbox.one_by_one import send_one_by_one
from chassis.outbox.producer import OrderedProducer
from chassis.outbox.relay_connection import connect
from chassis.outbox.relay_health import RelayHealth
from chassis.outbox.sent_topics import SentTopics
from chassis.outbox.set_aside import set_rows_aside
from chassis.outbox.spans import record_sends
from chassis.outbox.terms import become_active
from chassis.outbox.upkeep import Upkeep
from chassis.telemetry import metrics
from chassis.timestamps import is_set_within

BATCH = 1_000
BATCH_BYTES = 2**23
POLL_SECONDS = 1.0
"""An idle relay looks for rows so often even if nothing wakes it."""
STANDBY_SECONDS = 0.5
RESTART_SECONDS = 1.0

log = structlog.get_logger()


class NotDelivered(Exception):
    """Kafka is unavailable, or refuses all messages of this process. All rows are still there."""


class Relay:
    """Sends what `publish` wrote."""

    def __init__(
        self,
        service: str,
        database_url: str,
        kafka: Broker,
        registry: Registry,
        topics: KafkaTopics | None = None,
    ) -> None:
        self.health = RelayHealth(service)
        self._service = service
        self._database_url = database_url
        self._registry = registry
        self._producer = OrderedProducer(kafka)
        self._upkeep = Upkeep(self._producer, registry, self.health)
        self._sent_topics = SentTopics(topics or KafkaTopics(kafka))
        self._awake = asyncio.Event()

    def wake(self) -> bool:
        """Makes this relay look for rows at once. Returns False if another process has the active relay."""
        self._awake.set()
        return self.health.is_active

    async def run(self, stop: asyncio.Event) -> None:
        """Relays until `stop` is set; restarts after each failure."""
        while not stop.is_set():
            try:
                await self._relay(stop)
            except Exception as error:  # the last resort of this loop
                self.health.failed(error)
                log.warning("relay_interrupted", error=self.health.failure)
                await is_set_within(RESTART_SECONDS, stop)

    async def _relay(self, stop: asyncio.Event) -> None:
        """Waits until this relay is the active one, then sends batch after batch."""
        connection = await connect(self._database_url, self._service)
        waking = asyncio.create_task(self._wake_on(stop))
        try:
            while (term := await become_active(connection)) is None:
                self.health.succeeded()
                if await is_set_within(STANDBY_SECONDS, stop):
                    return
            self.health.set_active(True)
            log.info("relay_active", term=term)
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: self.wake())
            self._producer.connect()
            self._upkeep.begin()
            await self._sent_topics.begin(connection)
            while not stop.is_set():
                self._awake.clear()
                await self._upkeep.run_if_due(connection, term)  # raises if the term is over
                may_have_more = await self._send_batch(connection, stop, self._upkeep.send_until)
                self.health.succeeded()
                if not may_have_more:
                    await is_set_within(POLL_SECONDS, self._awake)
        finally:
            self.health.set_active(False)
            waking.cancel()
            connection.terminate()

    async def _send_batch(self, connection: asyncpg.Connection, stop: asyncio.Event, deadline: float) -> bool:
        """Sends the next rows and marks them. Returns True if more rows may be waiting."""
        rows, read_at = await connection.fetch(NEXT_ROWS, BATCH, BATCH_BYTES), time.monotonic()
        if not rows:
            return False
        outgoing, began_ns = await messages(rows, self._registry), time.time_ns()
        outcome = await asyncio.to_thread(self._producer.send, outgoing, stop, deadline)
        if outcome.suspects and not outcome.failure:
            # Kafka refused them together, and only one may be at fault: each alone adds to what is sent or refused.
            await asyncio.to_thread(send_one_by_one, self._producer, outgoing, outcome, stop, deadline)
        waited = time.monotonic() - read_at
        seconds = {row["id"]: row["age"] + waited for row in rows}
        exemplar = record_sends(rows, outcome, seconds, began_ns)
        located = await self._sent_topics.located(connection, outcome.sent)
        if located:
            columns = zip(
                *((row.id, row.partition, row.offset, topic) for row, topic in located), strict=True
            )
            await connection.execute(MARK_SENT, *columns)
            metrics.RELAYED.labels(self._service).inc(len(located))
            in_outbox = (seconds[row.id] for row, _ in located)
            metrics.OUTBOX_SECONDS.observe((self._service,), in_outbox, exemplar)
        if outcome.refused:
            await set_rows_aside(connection, outcome.refused)
        done = len(located) + len(outcome.refused)
        if outcome.failure:
            log.warning("delivery_failed", undelivered=len(rows) - done, error=outcome.failure)
            raise NotDelivered(outcome.failure)
        return _is_full(rows) or done < len(rows)

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()


def _is_full(rows: Sequence[asyncpg.Record]) -> bool:
    size = rows[-1]["bytes_before"] + len(rows[-1]["payload"] or b"") + len(rows[-1]["headers"])
    return len(rows) == BATCH or size >= BATCH_BYTES


# Limited in bytes, as a thousand dead letters can be a gigabyte; the first row is returned however large it is.
# A row waits while an earlier row of its topic and key is set aside; dead letters have no such order.
NEXT_ROWS = """
    SELECT * FROM (
        SELECT id, topic, type, key, payload, schema_version, headers,
            extract(epoch FROM clock_timestamp() - created_at)::float8 AS age,
            coalesce(sum(coalesce(octet_length(payload), 0) + octet_length(headers)) OVER before_it, 0) AS bytes_before
        FROM outbox AS next WHERE published_at IS NULL AND set_aside_at IS NULL AND NOT EXISTS (
            SELECT FROM outbox AS refused WHERE refused.set_aside_at IS NOT NULL AND refused.discarded_at IS NULL
                AND refused.key = next.key AND refused.topic = next.topic AND refused.id < next.id
                AND refused.topic NOT LIKE '%.dlq'
        )
        WINDOW before_it AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ORDER BY id LIMIT $1
    ) AS unsent
    WHERE bytes_before < $2 ORDER BY id
"""
MARK_SENT = """
    UPDATE outbox SET published_at = clock_timestamp(), kafka_partition = sent.partition, kafka_offset = sent.position,
        topic_id = sent.topic_id
    FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::uuid[]) AS sent (id, partition, position, topic_id)
    WHERE outbox.id = sent.id
"""
