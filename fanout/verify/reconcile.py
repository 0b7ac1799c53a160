"""Reconciles consumers: published = applied + in flight + parked + lost, and what was applied more than once."""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from fanout.verify.records import ConsumerState, Facts, Partition, Published, Subscription, before, latest

Place = Literal["applied", "parked", "lost", "in_flight"]
Topics = Mapping[Subscription, Sequence[Published]]

ONCE = frozenset(
    {
        "OrderPlaced",
        "OrderConfirmed",
        "OrderCancelled",
        "PaymentProcessed",
        "PaymentRefunded",
        "StockReserved",
        "StockRejected",
        "StockReleased",
        "OrderShipped",
    }
)
"""An order has at most one event of each of these types. Of FraudAssessed it has one per version."""


@dataclass(frozen=True, slots=True)
class Account:
    """What one consumer did with the events it subscribes to."""

    consumer: str
    applied: int
    parked: int
    in_flight: tuple[Published, ...]
    lost: tuple[Published, ...]
    duplicates: int
    excess: int
    """Events handed to handlers beyond the receipts for them: effects that the inbox's unique key did not guard.
    Negative: receipts without an effect."""
    unknown_producer_parked: int
    orphaned: tuple[UUID, ...]
    """Applied, but in no outbox and not redriven: effects without an event."""
    open_orders: set[str]
    """Orders with events that this consumer has not received yet or has parked."""
    since: datetime | None = None
    """Older events are left out: their rows may have been deleted."""
    ignored: Mapping[str, int] = field(default_factory=dict)
    """By type, events that the consumer passed over because its release did not know their type."""

    @property
    def published(self) -> int:
        return self.applied + len(self.in_flight) + self.parked + len(self.lost)


def account(
    state: ConsumerState,
    topics: Topics,
    known: set[UUID],
    redriven: Set[UUID] = frozenset(),
    outboxes_since: datetime | None = None,
) -> Account:
    """`known`: ids of all events in all outboxes. `redriven`: event ids of redriven dead letters.

    No outbox row of an event created after `outboxes_since` was deleted.
    """
    since = latest((state.complete_since, outboxes_since))
    is_left_out = before(since)
    places: dict[Place, list[Published]] = {"applied": [], "parked": [], "lost": [], "in_flight": []}
    for subscription in state.subscriptions:
        for event in topics.get(subscription, ()):
            if not is_left_out(event.event_id):
                places[place(event, state)].append(event)
    waiting = {event.order_id for event in (*places["in_flight"], *places["parked"])}
    parked = {message.order_id for message in state.parked_messages if message.event_id in state.parked}
    return Account(
        consumer=state.consumer,
        applied=len(places["applied"]),
        parked=len(places["parked"]),
        in_flight=tuple(places["in_flight"]),
        lost=tuple(places["lost"]),
        duplicates=state.duplicates,
        excess=state.applications - len(state.applied) - state.purged,
        unknown_producer_parked=sum(
            message.event_id is None or (message.event_id not in known and not is_left_out(message.event_id))
            for message in state.parked_messages
        ),
        orphaned=tuple(
            event_id for event_id in state.applied - known - redriven if not is_left_out(event_id)
        ),
        open_orders=waiting | parked,
        since=since,
        ignored=_ignored(state),
    )


def place(event: Published, state: ConsumerState) -> Place:
    """An event is lost if the consumer's offset lies behind it and the consumer has neither receipt nor note of it.

    An event of a type that the consumer's release did not know is in flight as soon as a newer one subscribes to it.
    """
    if event.event_id in state.applied:
        return "applied"
    if event.event_id in state.parked:
        return "parked"
    if event.partition is None or event.offset is None:
        return "in_flight"
    next_offset = state.next_offsets.get(Partition(event.topic, event.partition), 0)
    return "lost" if event.offset < next_offset and not _is_ignored(event, state) else "in_flight"


def _is_ignored(event: Published, state: ConsumerState) -> bool:
    """Returns True if the consumer passed over the event and has a row that says so: it will read the event again."""
    return any(
        (event.topic, event.partition, event.type) == (row.topic, row.partition, row.type)
        and row.first_offset <= (event.offset or 0) <= row.last_offset
        for row in state.ignored
    )


def _ignored(state: ConsumerState) -> dict[str, int]:
    events: Counter[str] = Counter()
    for row in state.ignored:
        events[row.type] += row.events
    return dict(sorted(events.items()))


def by_subscription(outbox: Sequence[Published]) -> Topics:
    topics: dict[Subscription, list[Published]] = {}
    for event in outbox:
        topics.setdefault(Subscription(event.topic, event.type), []).append(event)
    return topics


@dataclass(frozen=True, slots=True)
class Double:
    """What happened to one order more than once, in rows that no inbox key guards: a fact or an event type."""

    service: str
    what: str
    order_id: str
    times: int

    def __str__(self) -> str:
        return f"{self.order_id} ({self.what} {self.times} times)"


def doubles(facts: Facts, outbox: Sequence[Published]) -> list[Double]:
    """Returns facts that occur twice for one order, and events published twice under two event ids."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for name, orders in facts.items():
        service, _, fact = name.partition(".")
        counted.update({(service, fact, order): times for order, times in orders.items()})
    counted.update((event.producer, event.type, event.order_id) for event in outbox if event.type in ONCE)
    return [Double(*what, times) for what, times in counted.items() if times > 1]
