"""Reconciles consumers: published = applied + in flight + parked + lost, and what was applied more than once.

Counts are kept for each partition and never netted: a double in one does not make up for what another lacks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from chassis.events.topics import DLQ, REDRIVE
from fanout.verify.records import (
    ConsumerState,
    Partition,
    Published,
    Receipt,
    ReceiptSum,
    Slice,
    Subscription,
    TopicIds,
    earliest,
    latest,
)

Place = Literal["applied", "parked", "lost", "in_flight"]

SAMPLES = 100
"""So many lost events of a consumer are kept to be named; all are counted."""
STALLED_SECONDS = 10.0
FAR = 10_000
"""A relay that crashes leaves at most a batch of records in a partition of which no outbox row knows."""


@dataclass(slots=True)
class ConsumerCounts:
    """Collects, range by range, what became of the events that one consumer subscribes to."""

    state: ConsumerState
    topic_ids: TopicIds
    since: datetime | None = None
    """Events that were made before this time are left out of the account: their rows may have been deleted."""
    applied: int = 0
    parked: int = 0
    in_flight: Counter[Partition | None] = field(default_factory=Counter)
    lost: Counter[Partition | None] = field(default_factory=Counter)
    lost_events: list[Published] = field(default_factory=list)
    received: Counter[Partition | None] = field(default_factory=Counter)
    """Receipts by the partition of their event."""
    unplaced: int = 0
    """Receipts of applied events that no outbox has, or that were left out."""
    open_orders: set[int] = field(default_factory=set)
    """Hashes of the orders with events that this consumer has not received yet."""
    oldest_in_flight: datetime | None = None
    oldest_waiting: datetime | None = None
    """When the event was sent that waits for this consumer for the longest time."""
    last_received_at: datetime | None = None
    furthest: dict[Partition, int] = field(default_factory=dict)
    """The greatest offset of a received event, by partition of the topic as the consumer knows it."""
    unknown: list[Receipt] = field(default_factory=list)
    """Receipts of events that no outbox has."""
    unsubscribed: Counter[str] = field(default_factory=Counter)
    """By type, receipts of events to which the consumer does not subscribe."""

    def leave_out(self, receipts: ReceiptSum) -> None:
        """Counts receipts of events from before `since`."""
        self.last_received_at = latest((self.last_received_at, receipts.last_at))
        self.unplaced += receipts.receipts - receipts.parked

    def add_sums(self, slices: Sequence[Slice], receipts: ReceiptSum) -> bool:
        """Adds a range whose sums say all: every event has its receipt, or none has and no offset was passed.

        Returns False if the events have to be looked at one by one.
        """
        self.last_received_at = latest((self.last_received_at, receipts.last_at))
        if receipts == _sum_of(slices, receipts.parked):
            self.applied += receipts.receipts - receipts.parked
            self.parked += receipts.parked
            for each in slices:
                self._received(partition_of(each), each.events, each.last_offset, each.topic_id)
            return True
        if receipts.receipts or not all(self._is_ahead(each) for each in slices):
            return False
        for each in slices:
            self._in_flight(partition_of(each), each.events, each.created_at, each.published_at)
        return True

    def add_events(
        self, events: Iterable[Published], receipts: Iterable[Receipt], others: Mapping[UUID, Published]
    ) -> list[Published]:
        """Adds a range event by event; returns the lost ones. `others`: events without this consumer's subscription."""
        lost: list[Published] = []
        found = {receipt.event_id: receipt for receipt in receipts}
        for event in events:
            receipt = found.pop(event.event_id, None)
            partition = partition_of(event)
            match self.place(event, receipt):
                case "applied":
                    self.applied += 1
                    self._received(partition, 1, event.offset, event.topic_id)
                case "parked":
                    self.parked += 1
                    self._received(partition, 1, event.offset, event.topic_id)
                    self.open_orders.add(event.order_hash)
                case "in_flight":
                    self._in_flight(partition, 1, event.created_at, event.published_at)
                    self.open_orders.add(event.order_hash)
                case "lost":
                    self.lost[partition] += 1
                    lost.append(event)
        self.lost_events += lost[: SAMPLES - len(self.lost_events)]
        self._add_unexpected(found.values(), others)
        return lost

    def place(self, event: Published, receipt: Receipt | None) -> Place:
        """An event is lost if the consumer has passed it and has neither receipt nor note of it.

        It has passed what an older topic of the same name had. An event of a type that the consumer's release did not
        know is in flight as soon as a newer one subscribes to it.
        """
        if receipt:
            return "parked" if receipt.is_parked else "applied"
        partition = partition_of(event)
        if partition is None or event.offset is None:
            return "in_flight"
        is_passed = not self._is_ahead_of(partition, event.topic_id, event.offset)
        return "lost" if is_passed and not self._is_ignored(event) else "in_flight"

    def _add_unexpected(self, receipts: Iterable[Receipt], others: Mapping[UUID, Published]) -> None:
        for receipt in receipts:
            if event := others.get(receipt.event_id):
                if event.type not in self.state.dropped:
                    self.unsubscribed[event.type] += 1
                self._received(partition_of(event), 1, event.offset, event.topic_id)
            else:
                self.unknown.append(receipt)
                self.unplaced += not receipt.is_parked

    def _received(
        self, partition: Partition | None, events: int, offset: int | None, topic_id: UUID | None
    ) -> None:
        self.received[partition] += events
        if partition and offset is not None and self._age(partition, topic_id) == self._age_read(partition):
            self.furthest[partition] = max(self.furthest.get(partition, offset), offset)

    def _in_flight(
        self, partition: Partition | None, events: int, created_at: datetime | None, sent_at: datetime | None
    ) -> None:
        self.in_flight[partition] += events
        self.oldest_in_flight = earliest((self.oldest_in_flight, created_at))
        self.oldest_waiting = earliest((self.oldest_waiting, sent_at))

    def _is_ahead(self, each: Slice) -> bool:
        partition = partition_of(each)
        return partition is None or (
            each.first_offset is not None and self._is_ahead_of(partition, each.topic_id, each.first_offset)
        )

    def _is_ahead_of(self, partition: Partition, topic_id: UUID | None, offset: int) -> bool:
        """Returns True if the consumer has still to reach the offset."""
        position = self.state.positions.get(partition)
        age, read = self._age(partition, topic_id), self._age_read(partition)
        return position is None or age > read or (age == read and offset >= position.next_offset)

    def _age(self, partition: Partition, topic_id: UUID | None) -> int:
        return self.topic_ids.age(partition.topic, topic_id)

    def _age_read(self, partition: Partition) -> int:
        position = self.state.positions.get(partition)
        return self.topic_ids.age(partition.topic, position.topic_id if position else None)

    def _is_ignored(self, event: Published) -> bool:
        """Returns True if the consumer passed over the event and has a row that says so: it will read it again."""
        return any(
            (event.topic, event.partition, event.type) == (row.topic, row.partition, row.type)
            and row.first_offset <= (event.offset or 0) <= row.last_offset
            for row in self.state.ignored
        )


@dataclass(frozen=True, slots=True)
class PartitionAccount:
    """What one consumer did with the events of one partition."""

    partition: Partition
    in_flight: int
    lost: int
    excess: int
    """Events that were handed to handlers and have no receipt; negative: receipts of events that no handler saw."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one consumer did with the events it subscribes to."""

    consumer: str
    applied: int
    parked: int
    in_flight: int
    lost: int
    """Includes records that were deleted before the consumer read them and that no outbox knows."""
    lost_events: Sequence[Published]
    """The first of those that an outbox has."""
    duplicates: int
    excess: int
    """Events handed to handlers beyond the receipts for them: effects that the inbox's unique key did not guard."""
    deficit: int
    """Receipts of events that no handler saw."""
    unknown_producer_parked: int
    orphaned: Sequence[UUID] = ()
    """Applied, but in no outbox and not redriven: effects without an event."""
    unsubscribed: Mapping[str, int] = field(default_factory=dict)
    """By type, receipts of events to which the consumer does not subscribe."""
    misplaced: Sequence[str] = ()
    """A sentence for each partition with a received event far beyond what the consumer has read."""
    open_orders: frozenset[int] = frozenset()
    """Hashes of the orders with events that this consumer has not received yet or has parked."""
    since: datetime | None = None
    """Events that were made before this time are left out of the account: their rows may have been deleted."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """By type, events that the consumer passed over because its release did not know their type."""
    partitions: Sequence[PartitionAccount] = ()
    """Partitions in which something is in flight, lost, or applied more or less often than received."""
    oldest_in_flight: datetime | None = None
    stalled_seconds: float | None = None
    """How long the consumer has received nothing although something waits for it; None if it moves."""
    deleted_unread: int = 0
    """Records that were deleted before this consumer read them."""

    @property
    def published(self) -> int:
        return self.applied + self.in_flight + self.parked + self.lost


def account(
    counts: ConsumerCounts,
    read_at: datetime,
    redriven: Iterable[UUID] = (),
    known: Mapping[Partition, int] | None = None,
) -> Account:
    """Returns the account of one consumer, after all ranges were added.

    `read_at`: when its database was read. `redriven`: ids of redriven events. `known`: how many records of each
    partition the outboxes know or have deleted.
    """
    state = counts.state
    excess, deficit, beyond = _applications(counts)
    unexplained = {
        partition: position.lost - (known or {}).get(partition, 0)
        for partition, position in state.positions.items()
        if known is not None and position.lost
    }
    for partition, records in unexplained.items():
        counts.lost[partition] += max(records, 0)
    return Account(
        consumer=state.consumer,
        applied=counts.applied,
        parked=counts.parked,
        in_flight=counts.in_flight.total(),
        lost=counts.lost.total(),
        lost_events=counts.lost_events,
        duplicates=sum(position.duplicates for position in state.positions.values()),
        excess=excess,
        deficit=deficit,
        unknown_producer_parked=state.unknown_producer_parked,
        orphaned=_orphaned(counts, set(redriven)),
        unsubscribed=dict(sorted(counts.unsubscribed.items())),
        misplaced=list(_misplaced(counts)),
        open_orders=frozenset(counts.open_orders | state.parked_orders),
        since=counts.since,
        ignored=_ignored(state),
        partitions=_partitions(counts, beyond),
        oldest_in_flight=counts.oldest_in_flight,
        stalled_seconds=_stalled_seconds(counts, read_at),
        deleted_unread=sum(position.lost for position in state.positions.values()),
    )


def _applications(counts: ConsumerCounts) -> tuple[int, int, Mapping[Partition, int]]:
    """Returns excess, deficit, and by partition how many more events handlers were given than have a receipt there.

    A partition may have more than its receipts only for events whose partition is not known: receipts that were
    deleted after the retention time, and those of events that the relay has sent and not yet marked. It may have less
    only for events that were parked there, if the parked message was deleted.
    """
    state = counts.state
    own = {
        partition: at
        for partition, at in state.positions.items()
        if not partition.topic.endswith((DLQ, REDRIVE))
    }
    placed = {partition for partition in counts.received if partition}
    beyond = {
        partition: (own[partition].applied if partition in own else 0)
        - counts.received[partition]
        + state.redirected.get(partition, 0)
        for partition in sorted(own.keys() | placed | state.redirected.keys())
    }
    by_redrive = sum(
        at.applied for partition, at in state.positions.items() if partition.topic.endswith(REDRIVE)
    )
    redrives = by_redrive - state.redriven
    more = sum(max(each, 0) for each in (*beyond.values(), redrives))
    less = sum(max(-each, 0) for each in (*beyond.values(), redrives))
    elsewhere = state.purged + counts.unplaced + counts.received[None]
    set_apart = max(state.set_apart - sum(state.redirected.values()), 0)
    return max(more - elsewhere, 0), max(less - set_apart, 0) + max(elsewhere - more, 0), beyond


def _orphaned(counts: ConsumerCounts, redriven: set[UUID]) -> list[UUID]:
    """Leaves out what was redriven so long ago that the redriven message was deleted after the retention time."""
    return [
        receipt.event_id
        for receipt in counts.unknown
        if not receipt.is_parked
        and receipt.event_id not in redriven
        and not (receipt.redrive and counts.since and receipt.received_at < counts.since)
    ]


def _misplaced(counts: ConsumerCounts) -> Iterable[str]:
    for partition, offset in counts.furthest.items():
        position = counts.state.positions.get(partition)
        next_offset = position.next_offset if position else 0
        if offset - next_offset > FAR + counts.in_flight[partition]:
            yield f"{partition} at {offset} ({counts.state.consumer} has applied it and has read up to {next_offset})"


def _partitions(counts: ConsumerCounts, beyond: Mapping[Partition, int]) -> list[PartitionAccount]:
    is_whole = not (counts.state.purged or counts.unplaced or counts.received[None])
    found = {partition for partition in (*counts.in_flight, *counts.lost) if partition}
    if is_whole:
        found |= {partition for partition, events in beyond.items() if events}
    return [
        PartitionAccount(
            partition,
            counts.in_flight[partition],
            counts.lost[partition],
            beyond.get(partition, 0) if is_whole else 0,
        )
        for partition in sorted(found)
    ]


def _stalled_seconds(counts: ConsumerCounts, read_at: datetime) -> float | None:
    """Returns for how long nothing was received while the oldest event that was sent to this consumer waited."""
    if counts.oldest_waiting is None:
        return None
    since = max(counts.oldest_waiting, counts.last_received_at or counts.oldest_waiting)
    seconds = (read_at - since) / timedelta(seconds=1)
    return seconds if seconds >= STALLED_SECONDS else None


def _ignored(state: ConsumerState) -> dict[str, int]:
    events: Counter[str] = Counter()
    for row in state.ignored:
        events[row.type] += row.events
    return dict(sorted(events.items()))


def partition_of(of: Slice | Published) -> Partition | None:
    return None if of.partition is None else Partition(of.topic, of.partition)


def _sum_of(slices: Sequence[Slice], parked: int) -> ReceiptSum:
    return ReceiptSum(
        sum(each.events for each in slices),
        parked,
        sum(each.first_hash for each in slices),
        sum(each.second_hash for each in slices),
    )


def subscribed(slices: Iterable[Slice], subscriptions: Iterable[Subscription]) -> list[Slice]:
    wanted = set(subscriptions)
    return [each for each in slices if (each.topic, each.type) in wanted]
