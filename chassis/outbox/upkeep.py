"""What the active relay does every few seconds: renew its term, measure the backlog, retry rows set aside."""

from time import monotonic

import asyncpg

from chassis.outbox.producer import OrderedProducer
from chassis.outbox.relay_health import RelayHealth, measure
from chassis.outbox.set_aside import retry_rows
from chassis.outbox.terms import renew

RENEW_SECONDS = 3.0
RETRY_ROWS_SECONDS = 30.0
SEND_SECONDS = 6.0
"""No message is produced later than this after the term was renewed. Kafka's client gives a message up after 10 s, so
that all are given up before another relay can begin a term, 20 s after the renewal."""


class Upkeep:
    """Keeps the terms of one relay."""

    def __init__(self, producer: OrderedProducer, health: RelayHealth) -> None:
        self._producer = producer
        self._health = health
        self._renewed_at = self._retried_at = 0.0

    def begin(self) -> None:
        """Makes `run_if_due` due: the relay has become active."""
        self._renewed_at = 0.0

    @property
    def send_until(self) -> float:
        """The time of the monotonic clock after which no message may be produced in this term."""
        return self._renewed_at + SEND_SECONDS

    async def run_if_due(self, connection: asyncpg.Connection, term: int) -> None:
        """Raises TermIsOver if another relay has become active."""
        now = monotonic()
        if now - self._renewed_at < RENEW_SECONDS:
            return
        await renew(connection, term)
        self._renewed_at = now
        backlog = await measure(connection)
        self._health.measured(backlog)
        if backlog.set_aside and now - self._retried_at > RETRY_ROWS_SECONDS:
            self._retried_at = now
            await retry_rows(connection, self._producer)
