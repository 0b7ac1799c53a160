"""Grouping a batch by type makes few groups and never changes the order of the events of one key."""

from itertools import groupby
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from chassis.consumer.batch import group_by_type
from chassis.events.record import DecodedRecord, Record
from schemas import Event, FraudAssessed, OrderConfirmed, OrderShipped

RECORD = Record("orders", 0, 0, 0, None, None, ())


def confirmed(order_id: str) -> Event:
    return OrderConfirmed(
        order_id=order_id, order_version=2, occurred_at=0, customer_id="c", total_cents=1, currency="EUR"
    )


def shipped(order_id: str) -> Event:
    return OrderShipped(
        order_id=order_id,
        shipment_version=1,
        occurred_at=0,
        shipment_id="s",
        customer_id="c",
        tracking_code="t",
    )


def assessed(order_id: str) -> Event:
    return FraudAssessed(
        order_id=order_id, assessment_version=1, occurred_at=0, score=1, suspicious=False, rules=()
    )


events = st.builds(
    lambda make, key: make(key), st.sampled_from([confirmed, shipped, assessed]), st.sampled_from("abcd")
)
batches = st.lists(events.map(lambda event: DecodedRecord(RECORD, uuid4(), event)), max_size=60)


@given(batches)
def test_no_event_moves_past_another_of_its_key(batch: list[DecodedRecord]) -> None:
    grouped = [record for group in group_by_type(batch) for record in group.records]
    for key in "abcd":
        of_key = [record.event_id for record in batch if record.event.key == key]
        assert [record.event_id for record in grouped if record.event.key == key] == of_key


@given(batches)
def test_every_event_is_in_exactly_one_group_of_its_own_type(batch: list[DecodedRecord]) -> None:
    groups = group_by_type(batch)
    assert sorted(r.event_id for group in groups for r in group.records) == sorted(r.event_id for r in batch)
    assert all(type(record.event) is group.event_type for group in groups for record in group.records)


@given(batches)
def test_there_are_never_more_groups_than_without_reordering(batch: list[DecodedRecord]) -> None:
    assert len(group_by_type(batch)) <= len(list(groupby(type(record.event) for record in batch)))


def test_alternating_types_of_different_keys_become_two_groups() -> None:
    batch = [DecodedRecord(RECORD, uuid4(), make(str(n))) for n in range(50) for make in (confirmed, shipped)]
    assert [len(group.records) for group in group_by_type(batch)] == [50, 50]
