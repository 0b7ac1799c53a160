"""From where to where a replay reads, what its pace is, and what it says at the end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import typer
from sqlalchemy import MetaData

from chassis.service import NotAReadModel, Service, load
from fanout.durations import timestamp
from fanout.errors import BadUsage
from fanout.replay.plan import Extent, Plan, complete_since, require_history, require_read_model, to_second
from fanout.replay.replay import Pace, Summary
from fanout.repository import services

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = ("orders", 0), ("orders", 1)
CALM = Summary(
    service="inventory",
    rebuilt=False,
    since=None,
    events=12_000,
    seconds=6.0,
    per_second=4_000,
    seen=9_000,
    ignored=9_000,
    applied=0,
    parked=0,
    not_ignored=[],
    without_receipt=0,
)


def test_a_history_from_its_first_record_is_complete() -> None:
    assert complete_since({A: Extent(0, 9, NOON), B: Extent(0, 0, None)}) is None


def test_a_history_is_complete_from_the_latest_beginning_on() -> None:
    later = NOON + timedelta(hours=1)
    assert complete_since({A: Extent(4, 9, NOON), B: Extent(1, 2, later)}) == later


def test_a_beginning_that_was_not_cut_off_says_nothing() -> None:
    later = NOON + timedelta(hours=1)
    assert complete_since({A: Extent(4, 9, NOON), B: Extent(0, 2, later)}) == NOON


def test_what_an_empty_partition_forgot_is_older_than_any_topic_keeps() -> None:
    since = complete_since({A: Extent(4, 4, None)})
    assert since and timedelta(days=7) <= datetime.now(UTC) - since < timedelta(days=7, minutes=1)


def test_what_is_done_lies_between_start_and_end() -> None:
    plan = Plan(begins={A: 10, B: 0}, ends={A: 20, B: 5})
    assert plan.total == 15
    assert [plan.done(at) for at in ({}, {A: 3, B: 0}, {A: 15}, {A: 99, B: 99})] == [0, 0, 5, 15]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    faked = SimpleNamespace(now=0.0)
    faked.monotonic = lambda: faked.now
    monkeypatch.setattr("fanout.replay.replay.time", faked)
    return faked


def test_a_pace_is_what_was_read_since_the_workers_were_up_while_it_runs_and_at_the_end(
    clock: SimpleNamespace,
) -> None:
    """The first commit comes late and brings much: the time that it took counts."""
    pace, looks = Pace(total=3_000), []
    for clock.now, done, is_up in (
        (3.0, 0, False),
        (5.0, 0, True),
        (5.2, 2_200, True),
        (7.0, 2_200, True),
        (8.0, 3_000, True),
    ):
        pace.reached(done, is_up)
        looks.append((pace.line, pace.per_second))
    assert looks == [
        ("0 of 3,000 events", 0.0),
        ("0 of 3,000 events", 0.0),
        ("2,200 of 3,000 events, 1,000 a second, 1 s to go", pytest.approx(1_000)),
        ("2,200 of 3,000 events, 550 a second, 1 s to go", 550.0),
        ("3,000 of 3,000 events, 600 a second, 0 s to go", 600.0),
    ]


def test_a_pace_promises_nothing_in_its_first_second(clock: SimpleNamespace) -> None:
    pace = Pace(total=100)
    pace.reached(0, True)
    clock.now = 0.2
    pace.reached(50, True)
    assert pace.line == "50 of 100 events"


def test_before_anything_is_read_nobody_promises_a_time() -> None:
    assert Pace(total=100).line == "0 of 100 events"


def test_a_service_that_files_dead_letters_or_listens_to_nothing_has_nothing_to_replay() -> None:
    deaf, dead_letters = Service("deaf", MetaData()), Service("dead_letters", MetaData())
    dead_letters.on_dead_letters(lambda letters, db: None)  # type: ignore[arg-type, return-value]
    for service, reason in ((deaf, "subscribes to no event"), (dead_letters, "stores the dead letters")):
        with pytest.raises(BadUsage, match=f"{service.name} has nothing to replay: it {reason}"):
            require_history(service)


@pytest.mark.parametrize("name", [name for name in services() if name != "analytics"])
def test_a_service_that_publishes_or_sends_is_not_rebuilt(name: str) -> None:
    with pytest.raises(BadUsage, match=f"{name} is no read model, so it cannot be rebuilt"):
        require_read_model(load(name))


def test_a_service_that_says_it_is_a_read_model_is_rebuilt() -> None:
    require_read_model(load("analytics"))


def test_what_publishes_or_sends_cannot_say_that_it_is_a_read_model() -> None:
    with pytest.raises(NotAReadModel, match="has the topic orders"):
        Service("loyalty", MetaData(), topic="orders", read_model=True)
    with pytest.raises(NotAReadModel, match="runs send in the background"):

        @Service("loyalty", MetaData(), read_model=True).in_background
        async def send(*_: object) -> None: ...


def test_a_timestamp_is_formatted_so_that_it_can_be_asked_for_and_covers_what_it_should() -> None:
    assert to_second(NOON) == "2026-03-01T12:00:00Z"
    assert to_second(NOON + timedelta(microseconds=1)) == "2026-03-01T12:00:01Z"
    assert timestamp(to_second(NOON)) == NOON


def test_a_span_is_so_long_ago() -> None:
    at = timestamp("2h")
    assert timedelta(hours=2) <= datetime.now(UTC) - at < timedelta(hours=2, seconds=5)


@pytest.mark.parametrize("text", ["", "noon", "2026-03-01", "2026-03-01T12:00:00", "2999-01-01T00:00:00Z"])
def test_what_is_no_past_time_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        timestamp(text)


def test_a_calm_replay_says_that_nothing_changed() -> None:
    assert list(CALM.lines()) == [
        "12,000 events read in 6.0 s, 4,000 a second once the workers were up",
        "inventory saw 9,000 events and ignored 9,000: nothing changed",
    ]


def test_what_came_in_meanwhile_is_new_and_no_harm() -> None:
    summary = replace(CALM, seen=9_003, applied=3)
    assert summary.is_harmless
    assert list(summary.lines())[1].endswith("nothing changed; 3 were new")


def test_what_was_not_ignored_is_named() -> None:
    summary = replace(CALM, not_ignored=["OrderPlaced of o1 applied (orders 0 at 3)"], without_receipt=2)
    verdict, named, doubled = list(summary.lines())[1:]
    assert (summary.is_harmless, "something changed" in verdict) == (False, True)
    assert "OrderPlaced of o1 applied (orders 0 at 3)" in named and "applied 2 more" in doubled


def test_a_rebuilt_read_model_says_what_it_knows_of() -> None:
    summary = replace(CALM, service="analytics", rebuilt=True, applied=8_000, parked=1)
    assert list(summary.lines())[1] == "analytics is rebuilt: 8,000 events applied, 1 parked"
    assert "since 2026-03-01 12:00:00 UTC" in list(replace(summary, since=NOON).lines())[1]
