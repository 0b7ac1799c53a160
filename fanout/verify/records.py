"""What the two passes over all databases found: published events, the state of each consumer, facts of services."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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


class Published(NamedTuple):
    """An outbox row. Partition and offset are None until the relay has its delivery report."""

    event_id: UUID
    producer: str
    topic: str
    type: str
    order_id: str
    partition: int | None
    offset: int | None
    outbox_id: int = 0


class Forwarded(NamedTuple):
    """Where the relay put a dead letter or a redriven message; `redriven` is the event id of the latter."""

    topic: str
    partition: int
    offset: int
    redriven: UUID | None = None


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


class Ignored(NamedTuple):
    """Events of a type that a consumer did not know: how many, and the offsets of the first and the last of them."""

    topic: str
    partition: int
    type: str
    first_offset: int
    last_offset: int
    events: int


class ParkedMessage(NamedTuple):
    event_id: UUID | None
    order_id: str = ""


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """One consumer's receipts and counters, all from one snapshot of its database.

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
    purged: int = 0
    """How many receipts of applied events were deleted after the retention time."""
    complete_since: datetime | None = None
    """No receipt of an event created later was deleted."""
    ignored: Sequence[Ignored] = ()


Facts = Mapping[str, Counter[str]]
"""`service.fact` -> how often each order id occurs in it."""


@dataclass(slots=True)
class Reading:
    """The whole system as the two passes of `snapshot.read` found it."""

    consumers: list[ConsumerState] = field(default_factory=list)
    outbox: list[Published] = field(default_factory=list)
    unpublished: dict[str, int] = field(default_factory=dict)
    early: dict[str, Counter[str]] = field(default_factory=dict)
    late: dict[str, Counter[str]] = field(default_factory=dict)
    offenders: dict[str, Sequence[str]] = field(default_factory=dict)
    """`service: sentence` of each check -> the ids its SQL returned."""
    forwarded: list[Forwarded] = field(default_factory=list)
    reached: dict[Partition, int] = field(default_factory=dict)
    """The next offset of the one group that reads a dead-letter or redrive topic, by partition."""
    refused: list[RefusedRow] = field(default_factory=list)
    complete_since: datetime | None = None
    """No outbox row of an event created later was deleted."""
    waiting: dict[str, Counter[str]] = field(default_factory=dict)
    """What waits for an operator -> how much of it, by consumer."""
    held: list[str] = field(default_factory=list)
    """A sentence for each partition that a consumer cannot read on."""


def made_at(event_id: UUID) -> datetime | None:
    """Returns the time that a UUIDv7 carries (RFC 9562), None for an id of another version."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC) if event_id.version == 7 else None


def latest(timestamps: Iterable[datetime | None]) -> datetime | None:
    return max((timestamp for timestamp in timestamps if timestamp), default=None)


def before(cutoff: datetime | None) -> Callable[[UUID], bool]:
    """Returns a test for events created before the retention cutoff, which are left out on all sides.

    A UUIDv7 says when it was made (RFC 9562); ids of other versions carry no time and are never left out.
    """
    if cutoff is None:
        return lambda event_id: False
    first = int(cutoff.timestamp() * 1000)
    return lambda event_id: event_id.int >> 80 < first and event_id.version == 7
