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

LISTENERS = [name for name in services() if load(name).handlers]
"""Also those that somebody adds: a history tells them what they listen to, and nothing is to be registered."""

SAME_EVERYWHERE = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass(frozen=True)
class Bench:
    listener: ServiceUnderTest
    expected: Mapping[str, End]

    @property
    def histories(self) -> list[str]:
        return sorted(self.expected)


@pytest.fixture(params=LISTENERS)
async def bench(request: pytest.FixtureRequest, new_database: NewDatabase) -> AsyncIterator[Bench]:
    """A service, and how it leaves an order of each history when everything comes once, and in its turn."""
    listener = ServiceUnderTest(load(request.param), await new_database(request.param))
    expected: dict[str, End] = {}
    for name, history in HISTORIES.items():
        if listener.handles(history):
            told = await listener.begin(history)
            await listener.handle([Arrival(told.order_id, step) for step in told.steps])
            expected[name] = (await listener.ends({told.order_id: history}))[told.order_id]
    yield Bench(listener, expected)


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
    balance = BALANCE.get(bench.listener.service.name)
    for name, end in await arrive(bench, data, redrives=True):
        if balance and is_cancelled(HISTORIES[name]):
            assert balance(end) == balance(bench.expected[name]), name
        else:
            assert end == bench.expected[name], name


async def arrive(bench: Bench, data: st.DataObject, redrives: bool) -> list[tuple[str, End]]:
    """Some orders at once, each with its history; how each of them ends."""
    listener = bench.listener
    names = data.draw(st.lists(st.sampled_from(bench.histories), min_size=1, max_size=4))
    tellings = [await listener.begin(HISTORIES[name]) for name in names]
    await listener.handle(data.draw(arrivals(tellings, redrives)))
    assert not await sample_events.broken_checks(listener.service.name, listener.database)
    begun = list(zip(names, (told.order_id for told in tellings), strict=True))
    ends = await listener.ends({order_id: HISTORIES[name] for name, order_id in begun})
    return [(name, ends[order_id]) for name, order_id in begun]


def is_cancelled(history: History) -> bool:
    return any(isinstance(step, OrderCancelled) for step in history.steps)


def money_kept(end: End) -> int:
    signs = {"authorization": 1, "refund": -1}
    return sum(signs[movement["kind"]] * movement["amount_cents"] for movement in end["movements"])


def units_held(end: End) -> list[Any]:
    return [held for held in end["reservations"] if held["status"] == "reserved"] and end["reservation_lines"]


BALANCE = {"payments": money_kept, "inventory": units_held}
"""Cancelled before it is known, an order leaves another trail there than one that is undone, and the same sum."""
