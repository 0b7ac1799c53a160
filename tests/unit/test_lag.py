"""How far behind: positions, ages and spans of time, without a broker."""

import pytest
import typer

from fanout.commands.lag import Backlog, Gap, Lag, Measurement, Position, _rounds, _show, gap, made_at, summed
from fanout.durations import seconds
from fanout.outside_groups import event_readers


@pytest.mark.parametrize(
    ("committed", "start", "end", "position", "messages"),
    [(None, 3, 10, 3, 7), (5, 0, 10, 5, 5), (10, 0, 10, 10, 0), (1, 4, 10, 4, 6), (12, 0, 10, 12, 0)],
    ids=["never committed", "behind", "at the end", "overtaken by retention", "beyond the end"],
)
def test_a_gap_is_what_lies_between_position_and_end(
    committed: int | None, start: int, end: int, position: int, messages: int
) -> None:
    assert gap("fraud", ("orders", 2), committed, start, end) == Gap(
        "fraud", Position("orders", 2, position), messages
    )


def test_lines_sum_partitions_and_take_the_oldest_message() -> None:
    gaps = [
        Gap("fraud", Position("orders", 0, 5), 2),
        Gap("fraud", Position("orders", 1, 7), 3),
        Gap("orders", Position("payments", 0, 1), 0),
    ]
    made = {Position("orders", 0, 5): 90.0, Position("orders", 1, 7): 60.0, Position("payments", 0, 1): 1.0}
    assert summed(gaps, made, 100.0, {"go-totals"}) == [
        Lag("fraud", "orders", 5, 40.0),
        Lag("orders", "payments", 0, None),
    ]


def test_a_clock_that_runs_ahead_makes_no_negative_age() -> None:
    place = Position("orders", 0, 5)
    assert summed([Gap("fraud", place, 1)], {place: 101.0}, 100.0, {"go-totals"}) == [
        Lag("fraud", "orders", 1, 0.0)
    ]


def test_the_age_of_the_oldest_row_has_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Measurement(), [Backlog("orders", 3, 43.61, 0), Backlog("payments", 0, None, 0)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["orders", "3", "43.6", "s", "0"] in rows and ["payments", "0", "-", "0"] in rows


def test_a_group_of_no_service_is_outside_and_named_so(capsys: pytest.CaptureFixture[str]) -> None:
    gaps = [Gap(group, Position("orders", 0, 5), 2) for group in ("fraud", "go-totals")]
    lags = summed(gaps, {}, 100.0, {"go-totals"})
    assert [(lag.group, lag.outside) for lag in lags] == [("fraud", False), ("go-totals", True)]
    _show(Measurement(lags), [])
    shown = capsys.readouterr().out
    assert "go-totals (outside)" in shown and "fraud (outside)" not in shown


def test_a_group_outside_is_measured_in_the_topics_that_have_events() -> None:
    read = {
        "go-totals": {("payments", 2), ("orders", 0), ("orders", 5)},
        "elsewhere": {("metrics", 0), ("orders.fraud.dlq", 0)},
        "deleted meanwhile": set[tuple[str, int]](),
    }
    assert event_readers(read) == [("go-totals", "orders"), ("go-totals", "payments")]


def test_groups_at_different_offsets_of_a_partition_are_read_in_rounds() -> None:
    early, late, other = Position("orders", 0, 1), Position("orders", 0, 9), Position("orders", 1, 4)
    gaps = [
        Gap("a", early, 1),
        Gap("b", late, 1),
        Gap("c", early, 1),
        Gap("c", other, 1),
        Gap("d", Position("x", 0, 0), 0),
    ]
    assert _rounds(gaps) == [{early, other}, {late}]


@pytest.mark.parametrize(
    "headers", [None, [], [("ce_time", b"yesterday")], [("ce_time", b"\xff")], [("ce_time", None)]]
)
def test_without_a_readable_ce_time_the_records_time_counts(headers: object) -> None:
    assert made_at(headers, 5_000) == 5.0


def test_ce_time_counts_before_the_records_time() -> None:
    assert made_at([("ce_time", b"1970-01-01T00:01:00Z")], 5_000) == 60.0


@pytest.mark.parametrize(
    ("text", "value"), [("60s", 60), ("2m", 120), ("1.5", 1.5), ("250ms", 0.25), ("1h", 3600)]
)
def test_spans_of_time(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "soon", "-5s", "inf", "5 days", "s"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"no span of time: write 60s, 2m or 1\.5 \(seconds\)$"):
        seconds(text)
