"""Per consumer: published = applied + on the way + parked + lost, and how often more than once."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from fanout.verify.horizon import Hides, hides, latest
from fanout.verify.records import Partition, Published, Receipts, Subscription

Place = Literal["applied", "parked", "lost", "on_the_way"]
Topics = Mapping[Subscription, Sequence[Published]]


@dataclass(frozen=True, slots=True)
class Account:
    """What one consumer did with the events it listens to.

    `surplus` is what the inbox's unique key cannot guarantee: the events handed to handlers, counted inside
    each batch's transaction, beyond the receipts for them. Less than none means receipts without an effect.
    """

    consumer: str
    applied: int
    parked: int
    on_the_way: tuple[Published, ...]
    lost: tuple[Published, ...]
    duplicates: int
    surplus: int
    foreign_parked: int
    unfounded: tuple[UUID, ...]
    """Applied though no outbox has them and nobody sent them back: effects of a fact that never was."""
    open_orders: set[str]
    """Orders of which this consumer has still to hear, or has parked, something."""
    since: datetime | None = None
    """Older events are left out: their rows may have been deleted."""

    @property
    def published(self) -> int:
        return self.applied + len(self.on_the_way) + self.parked + len(self.lost)


def by_subscription(outbox: Sequence[Published]) -> Topics:
    topics: dict[Subscription, list[Published]] = {}
    for event in outbox:
        topics.setdefault(Subscription(event.topic, event.type), []).append(event)
    return topics


def account(
    receipts: Receipts,
    topics: Topics,
    known: set[UUID],
    vouched: Set[UUID] = frozenset(),
    outboxes_since: datetime | None = None,
) -> Account:
    """`known` holds the id of every event in any outbox, `vouched` those of letters that were sent back.

    The outboxes lack no event made after `outboxes_since`.
    """
    since = latest((receipts.complete_since, outboxes_since))
    is_hidden = hides(since)
    places = _places(receipts, topics, is_hidden)
    waiting = places["on_the_way"] + places["parked"]
    aside = [message for message in receipts.parked_messages if message.event_id in receipts.parked]
    return Account(
        consumer=receipts.consumer,
        applied=len(places["applied"]),
        parked=len(places["parked"]),
        on_the_way=tuple(places["on_the_way"]),
        lost=tuple(places["lost"]),
        duplicates=receipts.duplicates,
        surplus=receipts.applications - len(receipts.applied) - receipts.forgotten,
        foreign_parked=sum(
            event_id is None or (event_id not in known and not is_hidden(event_id))
            for event_id in (message.event_id for message in receipts.parked_messages)
        ),
        unfounded=tuple(
            event_id for event_id in receipts.applied - known - vouched if not is_hidden(event_id)
        ),
        open_orders={event.order_id for event in waiting} | {message.order_id for message in aside},
        since=since,
    )


def _places(receipts: Receipts, topics: Topics, is_hidden: Hides) -> Mapping[Place, list[Published]]:
    places: dict[Place, list[Published]] = {"applied": [], "parked": [], "lost": [], "on_the_way": []}
    for subscription in receipts.subscriptions:
        for event in topics.get(subscription, ()):
            if is_hidden(event.event_id):
                continue
            places[place(event, receipts)].append(event)
    return places


def place(event: Published, receipts: Receipts) -> Place:
    """Lost is what lies behind the consumer, who has no receipt for it."""
    if event.event_id in receipts.applied:
        return "applied"
    if event.event_id in receipts.parked:
        return "parked"
    return "lost" if _was_passed(event, receipts) else "on_the_way"


def _was_passed(event: Published, receipts: Receipts) -> bool:
    if event.partition is None or event.offset is None:
        return False
    return event.offset < receipts.next_offsets.get(Partition(event.topic, event.partition), 0)
