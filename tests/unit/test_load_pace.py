"""Pacing, outcomes and latencies of a load."""

import asyncio
from time import perf_counter

import pytest

from fanout.load import LoadReport, Outcome, Placement, Purchase, at_rate, percentile

PURCHASE = Purchase("card", "customer-001", (("mug", 1),), "tok_visa")


async def test_a_slow_answer_does_not_delay_the_next_customer() -> None:
    begun: list[float] = []

    async def serve(item: int, due: float) -> int:
        begun.append(perf_counter())
        await asyncio.sleep(0.5)
        return item

    start = perf_counter()
    assert await at_rate(100, range(20), serve) == list(range(20))
    assert begun[-1] - begun[0] < 0.4
    assert perf_counter() - start < 1.5


async def test_customers_come_no_faster_than_the_rate() -> None:
    async def serve(item: int, due: float) -> float:
        return due

    due = await at_rate(200, range(21), serve)
    assert due[-1] - due[0] == pytest.approx(0.1)
    assert perf_counter() >= due[-1]


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert percentile([], 0.5) == 0.0


def test_a_load_is_complete_when_all_is_placed_and_paid() -> None:
    placed = Placement(PURCHASE, "ok", 0.01, "o1")
    paid = Placement(PURCHASE, "ok", 0.01, "o2", paid="ok")
    assert LoadReport([placed, paid], 1.0).complete
    assert not LoadReport([placed, Placement(PURCHASE, "unknown", 0.01)], 1.0).complete
    assert not LoadReport([placed, Placement(PURCHASE, "ok", 0.01, "o3", paid="failed")], 1.0).complete


def test_only_accepted_orders_count_into_the_latency() -> None:
    report = LoadReport([Placement(PURCHASE, "ok", 0.01, "o1"), Placement(PURCHASE, "failed", 9.0)], 1.0)
    assert report.latency(0.99) == 0.01


def test_a_load_of_which_nothing_was_accepted_names_no_latency() -> None:
    report = LoadReport([Placement(PURCHASE, "refused", 0.01, problem="503 busy")] * 2, 1.0)
    assert [line for line in report.lines() if "accepted within" in line] == []
    assert (report.as_json()["p50_ms"], report.as_json()["p99_ms"]) == (None, None)
    assert report.lines()[-1] == "2 times 503 busy"


def test_the_report_counts_every_outcome() -> None:
    states: list[Outcome] = ["ok", "refused", "refused", "unknown"]
    report = LoadReport([Placement(PURCHASE, state, 0.01) for state in states], 1.0)
    assert "ok 1, refused 2, failed 0, unknown 1" in report.lines()[0]
    assert report.as_json()["orders"] == {"ok": 1, "refused": 2, "failed": 0, "unknown": 1}
    assert not report.complete
