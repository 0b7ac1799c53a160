"""Names the lost events one by one, with the outbox rows from which `fanout resend --lost` can send them again."""

from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID

from fanout.databases import Databases
from fanout.verify.report import lost


class LostEvent(NamedTuple):
    """An event that a consumer will not receive by itself: its outbox row, and who lacks it."""

    service: str
    """The service in whose database the outbox row is."""
    outbox_id: int
    topic: str
    type: str
    event_id: UUID
    order_id: str
    consumer: str


async def lost_events(databases: Databases) -> AsyncIterator[LostEvent]:
    """Yields an event once for each consumer that has lost it. Raises Unreachable or FanoutError."""
    async for consumer, events in lost(databases):
        for event in events:
            yield LostEvent(
                event.service,
                event.outbox_id,
                event.topic,
                event.type,
                event.event_id,
                event.order_id,
                consumer,
            )
