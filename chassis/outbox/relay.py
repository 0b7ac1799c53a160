"""Outbox to Kafka, in id order, at least once: a row counts as sent when its own delivery report came back good.

A row that Kafka refuses as it is, or that cannot be read, is set aside. What else goes wrong is waited for.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import asyncpg
import structlog
from confluent_kafka import KafkaException

from chassis import telemetry
from chassis.config import Broker
from chassis.database import OUTBOX_CHANNEL
from chassis.events.registry import Registry
from chassis.outbox import pending_rows
from chassis.outbox.framing import framed
from chassis.outbox.outcome import Refused
from chassis.outbox.pending_rows import Backlog
from chassis.outbox.producer import OrderedProducer
from chassis.outbox.relay_session import connect
from chassis.outbox.terms import RENEW_SECONDS, become_active, renew

SAFETY_POLL_SECONDS = 1.0
STANDBY_SECONDS = 0.5
RETRY_SECONDS = 1.0
TRY_AGAIN_SECONDS = 30.0
SEND_SECONDS = 6.0
"""So long after its term was renewed a relay hands messages to Kafka's client; with their lifetime of 10 s all of
them are given up before another relay can begin a term, 20 s after."""
NOT_READY_SECONDS = 15.0
STUCK_SECONDS = 60.0

log = structlog.get_logger()


class NotDelivered(Exception):
    """Kafka is away, or refuses whatever this process sends; all rows are still there."""


class Relay:
    """Sends what `publish` wrote. Any number may run; one per database is active."""

    def __init__(self, service: str, database_url: str, kafka: Broker, registry: Registry) -> None:
        self._service = service
        self._database_url = database_url
        self._registry = registry
        self._producer = OrderedProducer(kafka)
        self._awake = asyncio.Event()
        self._is_active = False
        self._backlog = Backlog()
        self._last_attempt = self._last_success = monotonic()
        self._renewed = self._tried_again = 0.0
        self._failure = ""

    @property
    def is_active(self) -> bool:
        """Whether this relay is the one that sends, of all that run for this database."""
        return self._is_active

    @property
    def is_alive(self) -> bool:
        """False when neither a turn nor a failure has ended for so long that the relay must be stuck."""
        return monotonic() - self._last_attempt < STUCK_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether it sends what there is, or is on standby and would notice if it had to."""
        return monotonic() - self._last_success < NOT_READY_SECONDS

    @property
    def status(self) -> Mapping[str, Any]:
        """What `/health/ready` shows of it."""
        shown = {
            "active": self._is_active,
            "unsent": self._backlog.unsent,
            "set_aside": self._backlog.set_aside,
        }
        return shown | ({"failure": self._failure} if self._failure else {})

    def wake(self) -> bool:
        """Says that rows were committed; returns False on standby, when another process has to be told.

        Without it the relay finds them within a second.
        """
        self._awake.set()
        return self._is_active

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._session(stop)
            except Exception as error:  # last resort of this loop: whatever it was, the rows are still there
                self._last_attempt, self._failure = monotonic(), f"{type(error).__name__}: {error}"[:300]
                log.warning("relay_interrupted", error=self._failure)
                await _wait(RETRY_SECONDS, stop)

    async def _session(self, stop: asyncio.Event) -> None:
        connection = await connect(self._database_url, self._service)
        stopping = asyncio.create_task(self._wake_on(stop))
        try:
            while (term := await become_active(connection)) is None:
                self._succeeded()
                if await _wait(STANDBY_SECONDS, stop):
                    return
            self._set_active(True)
            log.info("relay_active", term=term)
            await connection.add_listener(OUTBOX_CHANNEL, lambda *_: self.wake())
            self._producer.connect()
            self._renewed = 0.0
            while not stop.is_set():
                self._awake.clear()
                await self._keep_term(connection, term)
                is_full = await self._move(connection, stop)
                self._succeeded()
                if not is_full:
                    await _wait(SAFETY_POLL_SECONDS, self._awake)
        finally:
            self._set_active(False)
            stopping.cancel()
            connection.terminate()

    async def _keep_term(self, connection: asyncpg.Connection, term: int) -> None:
        """Every few seconds: renews the term, measures the backlog, and tries again what may work by now."""
        if (now := monotonic()) - self._renewed < RENEW_SECONDS:
            return
        await renew(connection, term)
        self._renewed = now
        self._backlog = await pending_rows.measure(connection)
        telemetry.outbox_measured(self._service, self._backlog)
        if self._backlog.set_aside and now - self._tried_again > TRY_AGAIN_SECONDS:
            self._tried_again = now
            await self._try_again(connection)

    async def _move(self, connection: asyncpg.Connection, stop: asyncio.Event) -> bool:
        """Sends a batch; returns whether it was full, so that more rows may be waiting."""
        rows, is_full = await pending_rows.next_rows(connection)
        if not rows:
            return False
        batch = await framed(rows, self._registry)
        outcome = await asyncio.to_thread(self._producer.send, batch, stop, self._renewed + SEND_SECONDS)
        if outcome.sent:
            await pending_rows.mark_sent(connection, outcome.sent)
            telemetry.RELAYED.labels(self._service).inc(len(outcome.sent))
        if outcome.refused:
            await pending_rows.set_aside(connection, outcome.refused)
            _log_refused(outcome.refused)
        if outcome.failure:
            undelivered = len(rows) - len(outcome.sent) - len(outcome.refused)
            log.warning("delivery_failed", undelivered=undelivered, error=outcome.failure)
            raise NotDelivered(outcome.failure)
        return is_full or len(outcome.sent) + len(outcome.refused) < len(rows)

    async def _try_again(self, connection: asyncpg.Connection) -> None:
        missed = await pending_rows.topics_missed(connection)
        try:
            known = missed & await asyncio.to_thread(self._producer.topics) if missed else missed
        except KafkaException as error:
            raise NotDelivered(str(error)) from error
        if rows := await pending_rows.try_again(connection, known):
            log.info("rows_tried_again", rows=rows)

    def _succeeded(self) -> None:
        self._last_attempt = self._last_success = monotonic()
        self._failure = ""

    def _set_active(self, is_active: bool) -> None:
        self._is_active = is_active
        telemetry.RELAY_ACTIVE.labels(self._service).set(is_active)
        if not is_active:
            telemetry.outbox_measured(self._service, Backlog())

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.wake()


def _log_refused(refused: Sequence[Refused]) -> None:
    """Writes one line for each topic and kind of error."""
    for (topic, error_type), rows in Counter((row.topic, row.error_type) for row in refused).items():
        first = next(row for row in refused if (row.topic, row.error_type) == (topic, error_type))
        what = {"topic": topic, "error_type": error_type, "error": first.error_message[:300]}
        log.error("rows_set_aside", **what, rows=rows, first_id=first.id)


async def _wait(seconds: float, event: asyncio.Event) -> bool:
    """Returns True if the event came within that time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
