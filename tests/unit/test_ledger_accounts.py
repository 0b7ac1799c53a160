"""Reconciliation: where each published event is, for each consumer, from sums of ranges and event by event."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from fanout.verify.reconcile import FAR, STALLED_SECONDS, Account, ConsumerCounts, account
from fanout.verify.records import (
    ConsumerState,
    Ignored,
    Partition,
    Position,
    Published,
    Receipt,
    ReceiptSum,
    Slice,
    Subscription,
    TopicIds,
)

PLACED = Subscription("orders", "OrderPlaced")
HERE, THERE = Partition("orders", 0), Partition("orders", 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = UUID(int=1), UUID(int=2)
TOPIC_IDS = TopicIds({"orders": {OLD: NOON, NEW: NOON + timedelta(hours=1)}})


def published(
    offset: int | None = 0, order: int = 1, type: str = "OrderPlaced", topic_id: UUID | None = None
) -> Published:
    partition = None if offset is None else 0
    sent_at = None if offset is None else NOON
    return Published(
        *(uuid4(), "orders", 1, "orders", type, f"o{order}", order),
        *(partition, offset, topic_id, NOON, sent_at),
    )


def receipt(event: Published, is_parked: bool = False, redrive: int = 0) -> Receipt:
    return Receipt(event.event_id, is_parked, redrive, NOON)


def consumer(next_offset: int = 0, applied: int = 0, topic_id: UUID | None = None) -> ConsumerState:
    position = Position(next_offset, applied, topic_id=topic_id)
    return ConsumerState("fraud", "fraud", {PLACED}, {HERE: position})


def counts_of(
    state: ConsumerState,
    *events: Published,
    receipts: Iterable[Receipt] = (),
    others: Iterable[Published] = (),
) -> ConsumerCounts:
    counts = ConsumerCounts(state, TOPIC_IDS)
    counts.add_events(events, receipts, {event.event_id: event for event in (*events, *others)})
    return counts


def settled(state: ConsumerState, *events: Published, receipts: Iterable[Receipt] = ()) -> Account:
    return account(counts_of(state, *events, receipts=receipts), NOON)


def place(state: ConsumerState, event: Published, receipt: Receipt | None = None) -> str:
    return ConsumerCounts(state, TOPIC_IDS).place(event, receipt)


def test_an_event_with_a_receipt_is_applied_wherever_the_consumer_stands() -> None:
    event = published(offset=7)
    assert place(consumer(next_offset=3), event, receipt(event)) == "applied"


def test_an_event_that_the_consumer_passed_without_a_receipt_is_lost() -> None:
    assert place(consumer(next_offset=8), published(offset=7)) == "lost"


def test_an_event_that_the_consumer_has_not_reached_is_in_flight() -> None:
    assert place(consumer(next_offset=7), published(offset=7)) == "in_flight"


def test_an_event_that_was_ignored_is_in_flight_once_a_release_subscribes_to_it() -> None:
    ignoring = replace(consumer(next_offset=100), ignored=[Ignored("orders", 0, "OrderPlaced", 7, 9, 2)])
    assert [place(ignoring, published(offset=offset)) for offset in (6, 7, 8, 9, 10)] == [
        "lost",
        "in_flight",
        "in_flight",
        "in_flight",
        "lost",
    ]
    assert place(ignoring, published(offset=8)._replace(partition=1)) == "in_flight", "not reached there"
    other = replace(ignoring, ignored=[Ignored("orders", 0, "OrderGifted", 7, 9, 2)])
    assert place(other, published(offset=8)) == "lost"
    event = published(offset=8)
    assert place(ignoring, event, receipt(event)) == "applied"


def test_ignored_events_are_counted_by_type_and_not_as_lost() -> None:
    ignored = [
        Ignored("orders", 0, "OrderGifted", 7, 9, 2),
        Ignored("orders", 1, "OrderGifted", 1, 1, 1),
        Ignored("orders", 1, "OrderReturned", 4, 4, 1),
    ]
    found = settled(replace(consumer(next_offset=10), ignored=ignored))
    assert found.ignored == {"OrderGifted": 3, "OrderReturned": 1}
    assert (found.published, found.lost) == (0, 0)


def test_an_event_of_a_partition_without_progress_is_in_flight() -> None:
    assert place(consumer(next_offset=100), published()._replace(partition=5)) == "in_flight"


def test_an_event_that_is_not_relayed_is_in_flight() -> None:
    assert place(consumer(next_offset=100), published(offset=None)) == "in_flight"


def test_a_parked_event_is_neither_lost_nor_applied() -> None:
    event = published(offset=7)
    assert place(consumer(next_offset=8), event, receipt(event, is_parked=True)) == "parked"


@pytest.mark.parametrize(
    ("sent", "read", "next_offset", "where"),
    [
        (OLD, OLD, 8, "lost"),
        (OLD, OLD, 7, "in_flight"),
        (OLD, NEW, 0, "lost"),
        (NEW, OLD, 99, "in_flight"),
        (None, NEW, 0, "lost"),
        (NEW, None, 99, "in_flight"),
        (None, OLD, 8, "lost"),
    ],
)
def test_offsets_of_two_topics_of_one_name_are_not_compared(
    sent: UUID | None, read: UUID | None, next_offset: int, where: str
) -> None:
    state = consumer(next_offset=next_offset, topic_id=read)
    assert place(state, published(offset=7, topic_id=sent)) == where


def test_published_is_the_sum_of_all_places() -> None:
    done, parked, lost, coming = (published(offset=offset) for offset in (0, 1, 2, 9))
    receipts = [receipt(done), receipt(parked, is_parked=True)]
    state = consumer(next_offset=3, applied=1)
    fraud = settled(state, done, parked, lost, coming, receipts=receipts)
    assert (fraud.published, fraud.applied, fraud.parked) == (4, 1, 1)
    assert (fraud.lost, fraud.lost_events, fraud.in_flight) == (1, [lost], 1)


def test_more_applications_than_receipts_are_an_excess() -> None:
    event = published()
    found = settled(consumer(next_offset=1, applied=3), event, receipts=[receipt(event)])
    assert (found.excess, found.deficit) == (2, 0)


def test_a_receipt_without_an_application_is_a_deficit() -> None:
    event = published()
    found = settled(consumer(next_offset=1), event, receipts=[receipt(event)])
    assert (found.excess, found.deficit) == (0, 1)


def counted(
    applied: Mapping[Partition, int],
    received: Mapping[Partition, int],
    unplaced: int = 0,
    **state: object,
) -> tuple[int, int]:
    positions = {partition: Position(9, count) for partition, count in applied.items()}
    counts = ConsumerCounts(replace(consumer(), positions=positions, **state), TOPIC_IDS)  # type: ignore[arg-type]
    counts.received.update(received)
    counts.unplaced = unplaced
    found = account(counts, NOON)
    return found.excess, found.deficit


RETRY = Partition("orders.fraud.retry", 0)


def test_an_excess_in_one_partition_does_not_cancel_a_deficit_in_another() -> None:
    assert counted({HERE: 3, THERE: 1}, {HERE: 2, THERE: 2}) == (1, 1)


def test_receipts_deleted_after_the_retention_time_explain_no_more_than_their_number() -> None:
    assert counted({HERE: 5}, {HERE: 2}, purged=3) == (0, 0)
    assert counted({HERE: 6}, {HERE: 2}, purged=3) == (1, 0)
    assert counted({HERE: 5, THERE: 0}, {HERE: 2, THERE: 1}, purged=3) == (0, 1)


def test_a_receipt_whose_event_is_not_marked_as_sent_belongs_to_no_partition_yet() -> None:
    assert counted({HERE: 3}, {HERE: 2}, unplaced=1) == (0, 0)


def test_an_event_applied_after_a_redrive_is_counted_where_it_was_redriven() -> None:
    parked = {"redirected": {HERE: 1}, "set_apart": 1, "redriven": 1}
    assert counted({HERE: 1, RETRY: 1}, {HERE: 2}, **parked) == (0, 0)  # type: ignore[arg-type]
    assert counted({HERE: 1, RETRY: 2}, {HERE: 2}, **parked) == (1, 0)  # type: ignore[arg-type]
    assert counted({HERE: 2, RETRY: 1}, {HERE: 2}, **parked) == (1, 0)  # type: ignore[arg-type]


def test_a_receipt_of_an_event_without_a_published_event_is_orphaned() -> None:
    phantom = published()
    counts = counts_of(consumer(applied=1), receipts=[receipt(phantom)])
    assert account(counts, NOON).orphaned == [phantom.event_id]
    assert account(counts, NOON, redriven=[phantom.event_id]).orphaned == []


def test_a_receipt_of_an_event_of_another_type_is_counted_by_type_unless_a_release_dropped_it() -> None:
    other = published(type="OrderConfirmed")
    state = consumer(next_offset=1, applied=1)
    counts = counts_of(state, receipts=[receipt(other)], others=[other])
    assert account(counts, NOON).unsubscribed == {"OrderConfirmed": 1}
    assert (account(counts, NOON).excess, account(counts, NOON).deficit) == (0, 0)
    dropped = counts_of(replace(state, dropped={"OrderConfirmed"}), receipts=[receipt(other)], others=[other])
    assert account(dropped, NOON).unsubscribed == {}


def test_orders_with_something_parked_or_in_flight_are_open() -> None:
    parked, coming, done = (published(order=order, offset=9) for order in (1, 2, 3))
    receipts = [receipt(done), receipt(parked, is_parked=True)]
    assert settled(consumer(), parked, coming, done, receipts=receipts).open_orders == {1, 2}


def test_a_received_event_far_beyond_what_was_read_is_misplaced() -> None:
    def misplaced(offset: int) -> int:
        event = published(offset=offset)
        return len(settled(consumer(next_offset=8, applied=1), event, receipts=[receipt(event)]).misplaced)

    assert [misplaced(offset) for offset in (8, 8 + FAR, 9 + FAR)] == [0, 0, 1]


def test_records_deleted_unread_are_lost_as_far_as_no_outbox_row_explains_them() -> None:
    state = replace(consumer(), positions={HERE: Position(40, lost=30)})
    counts = counts_of(state)
    assert account(counts, NOON, known={HERE: 30}).lost == 0
    assert account(counts_of(state), NOON, known={HERE: 12}).lost == 18


def stalled(sent: float, received: float | None, now: float) -> float | None:
    counts = ConsumerCounts(consumer(), TOPIC_IDS)
    counts.oldest_waiting = NOON + timedelta(seconds=sent)
    counts.last_received_at = None if received is None else NOON + timedelta(seconds=received)
    return account(counts, NOON + timedelta(seconds=now)).stalled_seconds


def test_a_consumer_is_stalled_when_something_waits_and_nothing_was_received_for_as_long() -> None:
    assert stalled(sent=0, received=None, now=31) == 31
    assert stalled(sent=0, received=5, now=31) == 26
    assert stalled(sent=0, received=-60, now=31) == 31
    assert stalled(sent=0, received=30, now=31) is None
    assert stalled(sent=0, received=None, now=STALLED_SECONDS - 0.1) is None


def of_slice(events: int, first: int, second: int, first_offset: int = 0, last_offset: int = 5) -> Slice:
    return Slice(
        *("orders", *PLACED, 0, None, events, first, second),
        *(first_offset, last_offset, 1, 9, NOON, NOON),
    )


def test_sums_that_agree_are_all_applied_or_parked() -> None:
    counts = ConsumerCounts(consumer(next_offset=6, applied=3), TOPIC_IDS)
    assert counts.add_sums([of_slice(2, 5, 7), of_slice(2, 1, 1)], ReceiptSum(4, 1, 6, 8))
    assert (counts.applied, counts.parked, counts.received) == (3, 1, {HERE: 4})


@pytest.mark.parametrize("receipts", [ReceiptSum(3, 0, 5, 7), ReceiptSum(2, 0, 6, 7), ReceiptSum(2, 0, 5, 8)])
def test_a_difference_in_the_count_or_in_one_sum_has_to_be_looked_at(receipts: ReceiptSum) -> None:
    assert not ConsumerCounts(consumer(next_offset=6), TOPIC_IDS).add_sums([of_slice(2, 5, 7)], receipts)


def test_a_range_that_the_consumer_has_not_begun_is_in_flight_as_a_whole() -> None:
    counts = ConsumerCounts(consumer(next_offset=3), TOPIC_IDS)
    assert counts.add_sums([of_slice(2, 5, 7, first_offset=3)], ReceiptSum())
    assert (counts.in_flight, counts.oldest_waiting) == ({HERE: 2}, NOON)
    assert not counts.add_sums([of_slice(2, 5, 7, first_offset=2)], ReceiptSum()), "it has passed one offset"
