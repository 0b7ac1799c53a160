"""What was read of the system: every published event, every consumer's receipts, every service's facts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID


class Subscription(NamedTuple):
    topic: str
    type: str


class Partition(NamedTuple):
    topic: str
    number: int


class Published(NamedTuple):
    """An outbox row. Partition and offset are None until the relay has its delivery report."""

    event_id: UUID
    producer: str
    topic: str
    type: str
    order_id: str
    partition: int | None
    offset: int | None


class Forwarded(NamedTuple):
    """Where the relay put a message that is nobody's fact: a dead letter, or one that was sent back.

    `vouched_for` is the event id of the latter: somebody decided that it is to be applied, published or not.
    """

    topic: str
    partition: int
    offset: int
    vouched_for: UUID | None = None


class RefusedRow(NamedTuple):
    """An outbox row that cannot be sent, or that somebody discarded for that reason; `type` is an event's."""

    service: str
    id: int
    topic: str
    type: str | None
    order_id: str | None
    error: str
    is_discarded: bool

    def __str__(self) -> str:
        what = f"{self.type} of {self.order_id}" if self.type and self.order_id else "a message"
        return f"row {self.id} of the outbox of {self.service} ({what} for topic {self.topic})"


class ParkedMessage(NamedTuple):
    event_id: UUID | None
    topic: str
    partition: int
    offset: int
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class Receipts:
    """One consumer's state, all of it from one snapshot of its database.

    `next_offsets`, `applications` and `duplicates` come from `consumer_offsets`, which each batch updates in its own
    transaction; `applications` counts the events that were handed to handlers.
    """

    consumer: str
    subscriptions: set[Subscription]
    next_offsets: Mapping[Partition, int]
    applications: int
    duplicates: int
    applied: set[UUID]
    parked: set[UUID]
    parked_messages: Sequence[ParkedMessage] = ()
    forgotten: int = 0
    """Receipts of applied events that were deleted."""
    complete_since: datetime | None = None
    """No receipt of an event made after that was deleted."""


Facts = Mapping[str, Counter[str]]
"""`service.fact` -> how often each order id occurs in it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The whole system as two passes over its databases found it (see `reading`)."""

    receipts: Sequence[Receipts]
    outbox: Sequence[Published]
    unpublished: Mapping[str, int]
    early: Facts
    late: Facts
    offenders: Mapping[str, Sequence[str]]
    """`service: sentence` of each check -> the ids its SQL returned."""
    forwarded: Sequence[Forwarded] = ()
    reached: Mapping[Partition, int] = field(default_factory=dict)
    """The next offset of the one group that reads a topic beside a topic, of each of its partitions."""
    refused: Sequence[RefusedRow] = ()
    complete_since: datetime | None = None
    """No outbox has lost a row of an event made after that."""
    waiting: Facts = field(default_factory=dict)
    """What waits for a person -> how much of it there is, by consumer."""
