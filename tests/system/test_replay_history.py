"""From where a replay reads: what a real Kafka holds of topics that were cut off, and of groups that wait."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fanout.errors import BadUsage, FanoutError
from fanout.kafka_admin import committed
from fanout.replay.plan import (
    Group,
    extents,
    move,
    of_effects,
    of_read_model,
    require_untouched,
    until_empty,
)
from tests.support.stack import Stack

FIRST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=5)
"""Each topic has ten records, an hour's half apart, in partition 0; partition 1 is empty."""
RECORDS = 10
STEP = timedelta(minutes=30)


@pytest.fixture
def admin(stack: Stack) -> AdminClient:
    return AdminClient({"bootstrap.servers": stack.addresses.kafka})


@pytest.fixture
def group(stack: Stack, admin: AdminClient) -> Iterator[Group]:
    name = f"history-{uuid4().hex[:8]}"
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
    producer = Producer({"bootstrap.servers": stack.addresses.kafka})
    for number in range(RECORDS):
        producer.produce(name, b"", partition=0, timestamp=round(at(number).timestamp() * 1000))
    assert producer.flush(20) == 0
    yield Group(name, [name])
    admin.delete_topics([name])[name].result(10)


def at(record: float) -> datetime:
    return FIRST + record * STEP


def first_and_last(group: Group, start: int, end: int = RECORDS) -> tuple[dict[tuple[str, int], int], ...]:
    return {(group.name, 0): start, (group.name, 1): 0}, {(group.name, 0): end, (group.name, 1): 0}


def cut(admin: AdminClient, group: Group, before: int) -> None:
    place = TopicPartition(group.name, 0, before)
    admin.delete_records([place])[place].result(10)


def reached(admin: AdminClient, group: Group, offset: int) -> None:
    move(admin, group.name, {(group.name, 0): offset})


def test_a_whole_history_is_read_from_its_beginning_to_its_end(admin: AdminClient, group: Group) -> None:
    plan = of_read_model(admin, group)
    assert (plan.begins, plan.ends) == first_and_last(group, 0)
    assert (plan.since, plan.total) == (None, RECORDS)


def test_a_read_model_from_a_time_begins_with_the_first_record_made_then(
    admin: AdminClient, group: Group
) -> None:
    assert of_read_model(admin, group, at(3)).begins[group.name, 0] == 3
    assert of_read_model(admin, group, at(2.5)).begins[group.name, 0] == 3
    assert of_read_model(admin, group, at(99)).total == 0


def test_a_history_that_was_cut_off_is_refused_unless_that_is_accepted(
    admin: AdminClient, group: Group
) -> None:
    cut(admin, group, before=4)
    for asked in (None, at(3)):
        with pytest.raises(BadUsage, match=f"complete since {at(4):%Y-%m-%dT%H:%M:%SZ} only; --yes"):
            of_read_model(admin, group, asked)
    plan = of_read_model(admin, group, accept_gap=True)
    assert (plan.begins[group.name, 0], plan.since) == (4, at(4))


def test_a_time_after_the_cut_needs_no_consent(admin: AdminClient, group: Group) -> None:
    cut(admin, group, before=4)
    plan = of_read_model(admin, group, at(6))
    assert (plan.begins[group.name, 0], plan.since) == (6, at(6))


def test_a_topic_that_was_emptied_is_complete_since_the_oldest_that_is_kept(
    admin: AdminClient, group: Group
) -> None:
    cut(admin, group, before=RECORDS)
    plan = of_read_model(admin, group, accept_gap=True)
    assert plan.since and plan.since < datetime.now(UTC) - timedelta(days=6)
    assert (plan.total, extents(admin, group.topics)[group.name, 0].first_at) == (0, None)


def test_a_service_with_effects_is_never_moved_forward(admin: AdminClient, group: Group) -> None:
    reached(admin, group, 5)
    assert of_effects(admin, group, at(8)).begins == first_and_last(group, 5)[0]
    assert of_effects(admin, group, at(3)).begins == first_and_last(group, 3)[0]
    assert of_effects(admin, group).begins == first_and_last(group, 0)[0]


def test_a_service_that_never_read_begins_at_the_beginning(admin: AdminClient, group: Group) -> None:
    assert of_effects(admin, group, at(8)).begins == first_and_last(group, 0)[0]


def test_what_the_inbox_forgot_is_not_read_again(admin: AdminClient, group: Group) -> None:
    reached(admin, group, RECORDS)
    for asked in (None, at(3.9)):
        with pytest.raises(BadUsage, match=f"--from {at(6):%Y-%m-%dT%H:%M:%SZ} or later"):
            of_effects(admin, group, asked, receipts_since=at(6))
    assert of_effects(admin, group, at(6), receipts_since=at(6)).begins[group.name, 0] == 6


def test_old_events_that_were_never_read_are_none_that_the_inbox_forgot(
    admin: AdminClient, group: Group
) -> None:
    reached(admin, group, 2)
    assert of_effects(admin, group, at(2), receipts_since=at(6)).begins[group.name, 0] == 2
    cut(admin, group, before=4)
    assert of_effects(admin, group, receipts_since=at(6)).begins[group.name, 0] == 4


def test_a_group_that_is_read_by_somebody_is_neither_empty_nor_moved(
    stack: Stack, admin: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.replay.plan.EMPTY_SECONDS", 0.5)
    wanted, before = {("orders", 0): 0}, committed(admin, "fraud")
    with pytest.raises(FanoutError, match="group fraud still has fraud-worker"):
        asyncio.run(until_empty(admin, "fraud"))
    with pytest.raises(FanoutError, match="does not move group fraud, nothing was changed"):
        move(admin, "fraud", wanted)
    with pytest.raises(FanoutError, match="fanout replay fraud once more"):
        require_untouched(admin, "fraud", wanted)
    assert committed(admin, "fraud") == before


def test_a_group_that_never_was_is_empty_and_can_be_moved(admin: AdminClient, group: Group) -> None:
    asyncio.run(until_empty(admin, group.name))
    offsets = {(group.name, 0): 3, (group.name, 1): 0}
    move(admin, group.name, offsets)
    require_untouched(admin, group.name, offsets)
    with pytest.raises(FanoutError, match="once more"):
        require_untouched(admin, group.name, {(group.name, 0): 4})
