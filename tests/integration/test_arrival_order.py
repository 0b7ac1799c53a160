"""Every service ends an order the same, however the order's events are reordered, repeated or redriven."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from chassis.service import load
from fanout.repository import services
from schemas import OrderCancelled
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.arrivals import Arrival, arrivals
from tests.support.order_histories import HISTORIES, History
from tests.support.service_under_test import End, ServiceUnderTest

CONSUMERS = [name for name in services() if load(name).handlers]
"""All services with handlers, also new ones: a history contains the events that they handle."""

SAME_EVERYWHERE = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Bench:
    consumer: ServiceUnderTest
    expected: Mapping[str, End]

    @property
    def histories(self) -> list[str]:
        return sorted(self.expected)


@pytest.fixture(params=CONSUMERS)
async def bench(request: pytest.FixtureRequest, new_database: NewDatabase) -> AsyncIterator[Bench]:
    """Yields a service, and the end of an order of each history when every event arrives once and in sequence."""
    consumer = ServiceUnderTest(load(request.param), await new_database(request.param))
    expected: dict[str, End] = {}
    for name, history in HISTORIES.items():
        if consumer.handles(history):
            order = await consumer.begin(history)
            await consumer.handle([Arrival(order.order_id, step) for step in order.steps])
            expected[name] = (await consumer.ends({order.order_id: history}))[order.order_id]
    yield Bench(consumer, expected)


def test_every_event_type_occurs_in_a_history() -> None:
    happening = {type(step) for history in HISTORIES.values() for step in history.steps}
    assert set(schemas.EVENTS) <= happening


@SAME_EVERYWHERE
@given(data=st.data())
async def test_an_order_ends_the_same_however_its_topics_interleave_and_redeliver(
    bench: Bench, data: st.DataObject
) -> None:
    for name, end in await arrive(bench, data, redrives=False):
        assert end == bench.expected[name], name


@SAME_EVERYWHERE
@given(data=st.data())
async def test_an_event_that_is_redriven_after_later_ones_changes_no_balance(
    bench: Bench, data: st.DataObject
) -> None:
    balance = BALANCE.get(bench.consumer.service.name)
    for name, end in await arrive(bench, data, redrives=True):
        if balance and is_cancelled(HISTORIES[name]):
            assert balance(end) == balance(bench.expected[name]), name
        else:
            assert end == bench.expected[name], name


async def arrive(bench: Bench, data: st.DataObject, redrives: bool) -> list[tuple[str, End]]:
    """Handles some orders at once, each with its history, and returns how each of them ends."""
    consumer = bench.consumer
    names = data.draw(st.lists(st.sampled_from(bench.histories), min_size=1, max_size=4))
    begun = [await consumer.begin(HISTORIES[name]) for name in names]
    await consumer.handle(data.draw(arrivals(begun, redrives)))
    assert not await sample_events.broken_checks(consumer.service.name, consumer.database)
    ids = list(zip(names, (order.order_id for order in begun), strict=True))
    ends = await consumer.ends({order_id: HISTORIES[name] for name, order_id in ids})
    return [(name, ends[order_id]) for name, order_id in ids]


def is_cancelled(history: History) -> bool:
    return any(isinstance(step, OrderCancelled) for step in history.steps)


def money_kept(end: End) -> int:
    signs = {"authorization": 1, "refund": -1}
    return sum(signs[movement["kind"]] * movement["amount_cents"] for movement in end["movements"])


def units_held(end: End) -> list[Any]:
    return [held for held in end["reservations"] if held["status"] == "reserved"] and end["reservation_lines"]


BALANCE = {"payments": money_kept, "inventory": units_held}
"""Sums to compare instead of rows: an order cancelled before it is known leaves other rows and the same sum."""
