"""The ledger's comparison by ranges of ids on real Postgres: what it reads one by one, and what it reads again."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from fanout.verify import compare, sums
from fanout.verify.ranges import IdRange
from fanout.verify.records import Published, Slice
from fanout.verify.report import _look_again, settle
from fanout.verify.snapshot import Snapshot
from tests.integration.conftest import Broken
from tests.support.simulated_system import HOLDS, SERVICES, Honest, SimulatedSystem, of, placed


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects how many events were read at once."""
    numbers: list[int] = []

    async def published_in(snapshot: Snapshot, whole: IdRange, slices: Sequence[Slice]) -> list[Published]:
        numbers.append(len(events := await original(snapshot, whole, slices)))
        return events

    original = sums.published_in
    monkeypatch.setattr(sums, "published_in", published_in)
    return numbers


async def lose(simulated: SimulatedSystem, order: str) -> None:
    event_id = await placed(simulated, order)
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    await simulated.run(
        "fraud", "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1"
    )


async def test_no_event_is_read_where_the_sums_agree(copied: Broken, fetched: list[int]) -> None:
    assert (await (await copied()).audit()).conclusion == HOLDS
    assert fetched == []


async def test_a_large_range_is_divided_until_few_events_are_read(
    copied: Broken, honest: Honest, fetched: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "PARTS", 1)
    monkeypatch.setattr(compare, "FETCHED", 2)
    simulated = await copied("fraud")
    for order in honest.orders.values():
        await lose(simulated, order)
    report = await simulated.audit()
    assert (report.lost, report.applied_twice) == (len(honest.orders), 0)
    assert {event.order_id for event in of(report, "fraud").lost_events} == set(honest.orders.values())
    assert fetched and max(fetched) <= 2


async def test_ids_without_a_time_are_compared_like_others(copied: Broken, honest: Honest) -> None:
    simulated, event_id = await copied("orders", "fraud"), UUID("8c2f4a2e-63a1-4f0e-9c39-0d1f4a1c2b3d")
    old = await placed(simulated, honest.orders["shipped"])
    for service, table in (("orders", "outbox"), ("fraud", "inbox")):
        await simulated.run(service, f"UPDATE {table} SET event_id = '{event_id}' WHERE event_id = '{old}'")
    report = await simulated.audit()
    assert of(report, "fraud").lost == 0 and not of(report, "fraud").orphaned
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    report = await simulated.audit()
    assert [event.event_id for event in of(report, "fraud").lost_events] == [event_id]


async def test_waiting_looks_again_at_what_had_not_arrived_and_judges_everything(
    copied: Broken, honest: Honest
) -> None:
    simulated = await copied(*SERVICES)
    await simulated.order()
    report = await simulated.audit()
    assert (report.in_flight, (await _look_again(simulated.urls, report)).in_flight) == (6, 6)
    await lose(simulated, honest.orders["shipped"])
    await simulated.deliver()
    assert (await _look_again(simulated.urls, report)).settled
    judged = await settle(simulated.urls, 30)
    assert (judged.verdict, judged.lost, judged.in_flight) == ("broken", 1, 0)


async def test_waiting_ends_when_the_last_event_has_arrived(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await simulated.order()
    seen: list[int] = []
    waiting = asyncio.create_task(settle(simulated.urls, 60, lambda now: seen.append(now.in_flight)))
    async with asyncio.timeout(30):
        while len(seen) < 2:
            await asyncio.sleep(0.02)
    await simulated.deliver()
    assert (await waiting).conclusion == HOLDS
    assert seen[:2] == [6, 6]
