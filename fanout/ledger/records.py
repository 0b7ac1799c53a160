"""What was read of the system: every published event, every consumer's receipts, every service's facts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


class ParkedMessage(NamedTuple):
    event_id: UUID | None
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Receipts:
    """One consumer's state, all of it from one snapshot of its database.

    `next_offsets`, `applications` and `repeated` come from `progress`, which each batch updates in its own
    transaction; `applications` counts the events that were handed to handlers.
    """

    consumer: str
    subscriptions: set[Subscription]
    next_offsets: Mapping[Partition, int]
    applications: int
    repeated: int
    applied: set[UUID]
    parked: set[UUID]
    parked_messages: Sequence[ParkedMessage] = ()


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
