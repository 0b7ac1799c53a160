"""What the active relay does every few seconds: renew its term, measure the backlog, retry rows set aside."""

from time import monotonic

import asyncpg
import structlog

from chassis.events.registry import Registry, RegistryUnavailable
from chassis.outbox.producer import OrderedProducer
from chassis.outbox.relay_health import RelayHealth, measure
from chassis.outbox.set_aside import retry_schemas, retry_topics
from chassis.outbox.terms import renew

RENEW_SECONDS = 3.0
RETRY_TOPICS_SECONDS = 30.0
RETRY_SCHEMAS_SECONDS = 3.0
REGISTRY_PAUSE_SECONDS = 30.0
"""After the registry did not answer: rows of schemas that are known already do not wait for it so often."""
SEND_SECONDS = 6.0
"""No message is produced later than this after the term was renewed. Kafka's client gives a message up after 10 s, so
that all are given up before another relay can begin a term, 20 s after the renewal."""


log = structlog.get_logger()


class Upkeep:
    """Keeps the terms of one relay."""

    def __init__(self, producer: OrderedProducer, registry: Registry, health: RelayHealth) -> None:
        self._producer = producer
        self._registry = registry
        self._health = health
        self._renewed_at = 0.0
        self._topics_due_at = self._schemas_due_at = 0.0

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
        if backlog.set_aside:
            await self._retry_rows(connection, now)

    async def _retry_rows(self, connection: asyncpg.Connection, now: float) -> None:
        if now >= self._schemas_due_at:
            self._schemas_due_at = now + RETRY_SCHEMAS_SECONDS
            try:
                await retry_schemas(connection, self._registry)
            except RegistryUnavailable as error:
                self._schemas_due_at = now + REGISTRY_PAUSE_SECONDS
                log.info("rows_not_retried", error=str(error))
        if now >= self._topics_due_at:
            self._topics_due_at = now + RETRY_TOPICS_SECONDS
            await retry_topics(connection, self._producer)
