"""The ledger's arithmetic: where each published event is, for each consumer."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from fanout.verify.reconcile import Account, account, by_subscription, place
from fanout.verify.records import ParkedMessage, Partition, Published, Receipts, Subscription

PLACED = Subscription("orders", "OrderPlaced")


def published(offset: int | None = 0, order_id: str = "o1", type: str = "OrderPlaced") -> Published:
    return Published(uuid4(), "orders", "orders", type, order_id, None if offset is None else 0, offset)


def receipts(
    applied: Iterable[UUID] = (),
    parked: Iterable[UUID] = (),
    next_offset: int = 0,
    applications: int | None = None,
    messages: Iterable[UUID | None] = (),
) -> Receipts:
    done = set(applied)
    return Receipts(
        consumer="fraud",
        subscriptions={PLACED},
        next_offsets={Partition("orders", 0): next_offset},
        applications=len(done) if applications is None else applications,
        duplicates=0,
        applied=done,
        parked=set(parked),
        parked_messages=[
            ParkedMessage(event_id, "orders", 0, offset) for offset, event_id in enumerate(messages)
        ],
    )


def settled(state: Receipts, *events: Published) -> Account:
    return account(state, by_subscription(events), {event.event_id for event in events})


def test_an_event_with_a_receipt_is_applied_wherever_the_consumer_stands() -> None:
    event = published(offset=7)
    assert place(event, receipts(applied=[event.event_id], next_offset=3)) == "applied"


def test_an_event_that_the_consumer_passed_without_a_receipt_is_lost() -> None:
    assert place(published(offset=7), receipts(next_offset=8)) == "lost"


def test_an_event_that_the_consumer_has_not_reached_is_on_the_way() -> None:
    assert place(published(offset=7), receipts(next_offset=7)) == "on_the_way"


def test_an_event_of_a_partition_without_progress_is_on_the_way() -> None:
    event = published()._replace(partition=5)
    assert place(event, receipts(next_offset=100)) == "on_the_way"


def test_an_event_that_is_not_relayed_is_on_the_way() -> None:
    assert place(published(offset=None), receipts(next_offset=100)) == "on_the_way"


def test_a_parked_event_is_neither_lost_nor_applied() -> None:
    event = published(offset=7)
    assert place(event, receipts(parked=[event.event_id], next_offset=8)) == "parked"


def test_published_is_the_sum_of_all_places() -> None:
    done, parked, lost, coming = (published(offset=offset) for offset in (0, 1, 2, 9))
    books = settled(receipts([done.event_id], [parked.event_id], next_offset=3), done, parked, lost, coming)
    assert (books.published, books.applied, books.parked) == (4, 1, 1)
    assert (books.lost, books.on_the_way) == ((lost,), (coming,))


def test_types_that_the_consumer_does_not_listen_to_are_not_its_business() -> None:
    assert settled(receipts(next_offset=100), published(type="OrderConfirmed")).published == 0


def test_more_applications_than_receipts_are_a_surplus() -> None:
    event = published()
    assert settled(receipts([event.event_id], applications=3), event).surplus == 2


def test_a_receipt_without_an_application_is_a_deficit() -> None:
    event = published()
    assert settled(receipts([event.event_id], applications=0), event).surplus == -1


def test_a_receipt_of_an_event_that_nobody_published_is_unfounded() -> None:
    phantom = uuid4()
    assert settled(receipts([phantom])).unfounded == (phantom,)


def test_garbage_is_counted_as_foreign_and_a_parked_event_of_ours_is_not() -> None:
    ours = published()
    books = settled(receipts(parked=[ours.event_id], messages=[ours.event_id, None, uuid4()]), ours)
    assert books.foreign_parked == 2


def test_orders_with_something_parked_or_on_the_way_are_open() -> None:
    parked, coming, done = (published(order_id=order, offset=9) for order in ("p", "w", "d"))
    books = settled(receipts([done.event_id], [parked.event_id]), parked, coming, done)
    assert books.open_orders == {"p", "w"}
