"""What the two passes over all databases found: published events as sums and one by one, and each consumer's state."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID


class Subscription(NamedTuple):
    topic: str
    type: str


class Partition(NamedTuple):
    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class Published(NamedTuple):
    """An outbox row. Partition, offset and the topic's id are None until the relay has its delivery report."""

    event_id: UUID
    service: str
    """The service in whose database the outbox is."""
    outbox_id: int
    topic: str
    type: str
    order_id: str
    order_hash: int
    """A hash of the order id, the same in every database."""
    partition: int | None = None
    offset: int | None = None
    topic_id: UUID | None = None
    created_at: datetime | None = None
    published_at: datetime | None = None


class Slice(NamedTuple):
    """The outbox rows of one service, type and partition in one range of event ids, as sums of hashes of their ids."""

    service: str
    topic: str
    type: str
    partition: int | None
    topic_id: UUID | None
    events: int
    first_hash: int
    second_hash: int
    first_offset: int | None
    last_offset: int | None
    first_id: int
    last_id: int
    created_at: datetime
    """When the oldest of them was made."""
    published_at: datetime | None
    """When the first of them was sent."""


@dataclass(frozen=True, slots=True)
class ReceiptSum:
    """The inbox rows of one consumer in one range of event ids, as sums of hashes of their ids."""

    receipts: int = 0
    parked: int = 0
    first_hash: int = 0
    second_hash: int = 0
    last_at: datetime | None = field(default=None, compare=False)


class Receipt(NamedTuple):
    event_id: UUID
    is_parked: bool
    redrive: int
    received_at: datetime


class Position(NamedTuple):
    """How far a consumer has read a partition, and what became of the records: a row of `consumer_offsets`.

    `applied` counts the events that were handed to handlers; `lost` the records that were deleted
    before they were read.
    """

    next_offset: int
    applied: int = 0
    duplicates: int = 0
    lost: int = 0
    topic_id: UUID | None = None


class Ignored(NamedTuple):
    """Events of a type that a consumer did not know: how many, and the offsets of the first and the last of them."""

    topic: str
    partition: int
    type: str
    first_offset: int
    last_offset: int
    events: int


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """One consumer's receipts and counters, all from one snapshot of its database."""

    consumer: str
    service: str
    """The service in whose database its inbox is."""
    subscriptions: Set[Subscription]
    positions: Mapping[Partition, Position]
    redirected: Mapping[Partition, int] = field(default_factory=dict)
    """Events of a partition that were parked there: applied later through the redrive topic, or not at all."""
    redriven: int = 0
    """Receipts of events that were applied after a redrive."""
    set_apart: int = 0
    """Receipts of events that were parked or redriven, whether or not `redirected` knows their partition."""
    unknown_producer_parked: int = 0
    parked_orders: Set[int] = frozenset()
    """Hashes of the orders of parked events."""
    purged: int = 0
    """How many receipts of applied events were deleted after the retention time."""
    since: datetime | None = None
    """Receipts of events created earlier may have been deleted."""
    ignored: Sequence[Ignored] = ()
    dropped: Set[str] = frozenset()
    """Event types that an earlier release of the consumer had a handler for."""


class RefusedRow(NamedTuple):
    """An outbox row that Kafka refused and that was set aside, perhaps discarded since."""

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


Facts = Mapping[str, Counter[str]]
"""`service.fact` -> how often each order id occurs in it."""


class Double(NamedTuple):
    """What happened to one order more than once, in rows that no inbox key guards: a fact or an event type."""

    service: str
    what: str
    order_id: str
    times: int

    def __str__(self) -> str:
        return f"{self.order_id} ({self.what} {self.times} times)"


class TopicIds:
    """Tells whether a topic is older than another of its name, by when each was first seen in any database."""

    def __init__(self, first_seen: Mapping[str, Mapping[UUID, datetime]]) -> None:
        self._ages = {
            topic: {topic_id: age for age, topic_id in enumerate(sorted(ids, key=ids.__getitem__))}
            for topic, ids in first_seen.items()
        }

    def age(self, topic: str, topic_id: UUID | None) -> int:
        """Returns a number that is greater for a later topic. An offset without an id is of the oldest."""
        ages = self._ages.get(topic, {})
        return 0 if topic_id is None else ages.get(topic_id, len(ages))


def made_at(event_id: UUID) -> datetime | None:
    """Returns the time that a UUIDv7 carries (RFC 9562), None for an id of another version."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC) if event_id.version == 7 else None


def earliest(timestamps: Iterable[datetime | None]) -> datetime | None:
    return min((timestamp for timestamp in timestamps if timestamp), default=None)


def latest(timestamps: Iterable[datetime | None]) -> datetime | None:
    return max((timestamp for timestamp in timestamps if timestamp), default=None)
