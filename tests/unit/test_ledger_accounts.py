"""Reconciliation: where each published event is, for each consumer."""

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID, uuid4

from fanout.verify.reconcile import Account, account, by_subscription, place
from fanout.verify.records import ConsumerState, Ignored, ParkedMessage, Partition, Published, Subscription

PLACED = Subscription("orders", "OrderPlaced")


def published(offset: int | None = 0, order_id: str = "o1", type: str = "OrderPlaced") -> Published:
    return Published(uuid4(), "orders", "orders", type, order_id, None if offset is None else 0, offset)


def consumer(
    applied: Iterable[UUID] = (),
    parked: Iterable[UUID] = (),
    next_offset: int = 0,
    applications: int | None = None,
    messages: Iterable[UUID | None] = (),
) -> ConsumerState:
    done = set(applied)
    return ConsumerState(
        consumer="fraud",
        subscriptions={PLACED},
        next_offsets={Partition("orders", 0): next_offset},
        applications=len(done) if applications is None else applications,
        duplicates=0,
        applied=done,
        parked=set(parked),
        parked_messages=[ParkedMessage(event_id) for event_id in messages],
    )


def settled(state: ConsumerState, *events: Published) -> Account:
    return account(state, by_subscription(events), {event.event_id for event in events})


def test_an_event_with_a_receipt_is_applied_wherever_the_consumer_stands() -> None:
    event = published(offset=7)
    assert place(event, consumer(applied=[event.event_id], next_offset=3)) == "applied"


def test_an_event_that_the_consumer_passed_without_a_receipt_is_lost() -> None:
    assert place(published(offset=7), consumer(next_offset=8)) == "lost"


def test_an_event_that_the_consumer_has_not_reached_is_in_flight() -> None:
    assert place(published(offset=7), consumer(next_offset=7)) == "in_flight"


def test_an_event_that_was_ignored_is_in_flight_once_a_release_subscribes_to_it() -> None:
    ignoring = replace(consumer(next_offset=100), ignored=[Ignored("orders", 0, "OrderPlaced", 7, 9, 2)])
    assert [place(published(offset=offset), ignoring) for offset in (6, 7, 8, 9, 10)] == [
        "lost",
        "in_flight",
        "in_flight",
        "in_flight",
        "lost",
    ]
    assert place(published(offset=8)._replace(partition=1), ignoring) == "in_flight", "not reached there"
    other = replace(ignoring, ignored=[Ignored("orders", 0, "OrderGifted", 7, 9, 2)])
    assert place(published(offset=8), other) == "lost"
    event = published(offset=8)
    assert place(event, replace(ignoring, applied={event.event_id})) == "applied"


def test_ignored_events_are_counted_by_type_and_not_as_lost() -> None:
    ignored = [
        Ignored("orders", 0, "OrderGifted", 7, 9, 2),
        Ignored("orders", 1, "OrderGifted", 1, 1, 1),
        Ignored("orders", 1, "OrderReturned", 4, 4, 1),
    ]
    found = settled(replace(consumer(next_offset=10), ignored=ignored), published(type="OrderGifted"))
    assert found.ignored == {"OrderGifted": 3, "OrderReturned": 1}
    assert (found.published, found.lost) == (0, ())


def test_an_event_of_a_partition_without_progress_is_in_flight() -> None:
    event = published()._replace(partition=5)
    assert place(event, consumer(next_offset=100)) == "in_flight"


def test_an_event_that_is_not_relayed_is_in_flight() -> None:
    assert place(published(offset=None), consumer(next_offset=100)) == "in_flight"


def test_a_parked_event_is_neither_lost_nor_applied() -> None:
    event = published(offset=7)
    assert place(event, consumer(parked=[event.event_id], next_offset=8)) == "parked"


def test_published_is_the_sum_of_all_places() -> None:
    done, parked, lost, coming = (published(offset=offset) for offset in (0, 1, 2, 9))
    fraud = settled(consumer([done.event_id], [parked.event_id], next_offset=3), done, parked, lost, coming)
    assert (fraud.published, fraud.applied, fraud.parked) == (4, 1, 1)
    assert (fraud.lost, fraud.in_flight) == ((lost,), (coming,))


def test_types_that_the_consumer_does_not_listen_to_are_left_out() -> None:
    assert settled(consumer(next_offset=100), published(type="OrderConfirmed")).published == 0


def test_more_applications_than_receipts_are_an_excess() -> None:
    event = published()
    assert settled(consumer([event.event_id], applications=3), event).excess == 2


def test_a_receipt_without_an_application_is_a_deficit() -> None:
    event = published()
    assert settled(consumer([event.event_id], applications=0), event).excess == -1


def test_a_receipt_of_an_event_without_a_published_event_is_orphaned() -> None:
    phantom = uuid4()
    assert settled(consumer([phantom])).orphaned == (phantom,)


def test_garbage_counts_as_of_an_unknown_producer_and_a_parked_event_of_ours_does_not() -> None:
    ours = published()
    fraud = settled(consumer(parked=[ours.event_id], messages=[ours.event_id, None, uuid4()]), ours)
    assert fraud.unknown_producer_parked == 2


def test_orders_with_something_parked_or_in_flight_are_open() -> None:
    parked, coming, done = (published(order_id=order, offset=9) for order in ("p", "w", "d"))
    fraud = settled(consumer([done.event_id], [parked.event_id]), parked, coming, done)
    assert fraud.open_orders == {"p", "w"}
