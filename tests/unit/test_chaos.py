"""A seed decides a schedule, a run in which nothing bit is invalid, and a report names everything that was violated."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from fanout.chaos import holder
from fanout.chaos.bites import Bites, Counters, bites
from fanout.chaos.experiment import broken_promise
from fanout.chaos.inject import Injected
from fanout.chaos.injection import Injection
from fanout.chaos.kinds import KINDS, Fault, with_containers
from fanout.chaos.report import Header, as_json, page
from fanout.chaos.run import Asked, Judgement, PlayedFault, Run, _add_answers
from fanout.chaos.schedule import KILLS, Planned, Targets, schedule
from fanout.commands.chaos import fault_of, usual
from fanout.errors import BadUsage, UnknownService
from fanout.load import LoadReport, Placement, Purchase
from fanout.verify.report import Report

TARGETS = Targets(["kafka", "fraud-worker", "orders-api"], ["orders", "fraud"], ["orders", "payments"])
ROUND = len(KINDS) + KILLS - 1
PURCHASE = Purchase("card", "customer-001", (("mug", 1),), "tok_visa")
TAKEN = Placement(PURCHASE, "ok", 0.01, "o1")
HOLDS, NOTHING = Report([], [], [], {}), Bites(0, 0, 0, 0, 0, 0, 0)
PLANNED = Planned(1.5, Fault("kill", "fraud-worker", 2, 3.0))
RUN = Run(
    met=[PlayedFault(PLANNED, 1.6, 4.7, Injected(begun=True, ended=True, met={"killed": 2}))],
    asked=[
        Asked(10.0, "waiting", "waiting: 3 events in flight"),
        Asked(20.0, "unanswered", "Postgres is down"),
    ],
    load=LoadReport([TAKEN], 1.0),
    bites=replace(NOTHING, redeliveries=7, restarts=2),
    parked_before=0,
    ledger=HOLDS,
    settled_after=1.5,
    judgement=Judgement("holds", {"delivery": "holds"}),
    seconds=30.0,
)
HEADER = Header(5, 100, 10.0, 1, "abc", "2 processors", "2030-01-01T00:00:00+00:00")


def test_the_same_seed_gives_the_same_schedule_and_another_seed_another() -> None:
    first = schedule(1, 40, 200, TARGETS)
    assert first == schedule(1, 40, 200, TARGETS)
    assert first != schedule(2, 40, 200, TARGETS)


def test_each_part_of_the_time_has_one_fault_and_each_round_every_kind() -> None:
    planned = schedule(3, 2 * ROUND, 320, TARGETS)
    part = 320 / (2 * ROUND)
    assert all(number * part <= each.at <= (number + 1) * part for number, each in enumerate(planned))
    for half in (planned[:ROUND], planned[ROUND:]):
        kinds = [each.fault.kind for each in half]
        assert set(kinds) == set(KINDS) and kinds.count("kill") == KILLS


def test_a_schedule_aims_only_at_what_the_system_has_and_stays_within_limits() -> None:
    for fault in (each.fault for each in schedule(4, 400, 4000, TARGETS)):
        kind = KINDS[fault.kind]
        assert fault.target in TARGETS.of(kind.takes)
        assert 1.0 <= fault.seconds <= min(kind.seconds, 8.0)
        assert (fault.level > 0) is (kind.level is not None)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_what_is_expected_and_what_to_type_with_containers(name: str) -> None:
    fault = usual(KINDS[name])
    for text in (fault.hypothesis, with_containers(fault)):
        assert text and "{" not in text
    assert "nothing is lost or applied twice" in fault.hypothesis


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        (Fault("kill", "fraud-worker", 1, 1), "taken"),
        (Fault("pause", "orders-api", 0, 1), "none"),
        (Fault("slow", "postgres", 90, 1), "answered"),
        (Fault("lock", "orders.outbox", 0, 1), "answered"),
        (Fault("lock", "fraud.inbox", 0, 1), "taken"),
        (Fault("broker-down", "", 0, 1), "taken"),
        (Fault("freeze-all", "", 0, 1), "none"),
    ],
    ids=str,
)
def test_orders_are_promised_wherever_the_producer_waits_for_nobody(fault: Fault, promise: str) -> None:
    assert fault.promise == promise


REFUSED = replace(TAKEN, state="refused", order_id=None)
UNKNOWN = replace(TAKEN, state="unknown", order_id=None)
LATE = replace(TAKEN, seconds=2.5)


@pytest.mark.parametrize(
    ("promise", "placed", "broken"),
    [
        ("taken", [TAKEN], 0),
        ("taken", [TAKEN, REFUSED], 1),
        ("taken", [LATE], 1),
        ("answered", [TAKEN, REFUSED], 0),
        ("answered", [UNKNOWN, LATE], 2),
        ("none", [UNKNOWN, LATE], 0),
    ],
)
def test_a_promise_is_broken_by_orders_that_are_not_taken_or_late(
    promise: Any, placed: Sequence[Placement], broken: int
) -> None:
    assert len(list(broken_promise(promise, LoadReport(placed, 1.0)))) == broken


def test_a_run_that_bit_and_held_is_held() -> None:
    assert RUN.verdict == "held" and RUN.violations == []


@pytest.mark.parametrize(
    "nothing",
    [{"bites": replace(NOTHING, restarts=9, parked=1)}, {"met": [PlayedFault(PLANNED)]}],
    ids=["nothing bit", "no fault began"],
)
def test_a_run_in_which_nothing_bit_is_invalid(nothing: dict[str, Any]) -> None:
    assert replace(RUN, **nothing).verdict == "invalid"


@pytest.mark.parametrize("bite", ["redeliveries", "rebalances", "unknown_answers"])
def test_each_bite_makes_a_run_valid(bite: str) -> None:
    assert replace(RUN, bites=replace(NOTHING, **{bite: 1})).verdict == "held"


VIOLATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a false alarm": ({"asked": [Asked(10.0, "broken", "broken: lost 1")]}, "1 time asked meanwhile"),
    "an order that was not taken": ({"load": LoadReport([UNKNOWN], 1.0)}, "an order was not taken"),
    "a ledger that does not hold": (
        {"ledger": Report([], [], [], {"orders": 2})},
        "at the end the ledger says",
    ),
    "an innocent message": (
        {"ledger": replace(HOLDS, waiting={"parked": Counter(orders=1)})},
        "no fault had poisoned",
    ),
    "an independent judge": ({"judgement": Judgement("broken", {})}, "the independent judge says broken"),
    "what was not undone": ({"met": [replace(RUN.met[0], problem="it stays")]}, "was not undone: it stays"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_run_names_what_was_violated(name: str) -> None:
    change, sentence = VIOLATIONS[name]
    violated = replace(RUN, **change)
    assert violated.verdict == "violated"
    assert sentence in violated.violations[0]
    assert violated.violations[0] in "\n".join(page(HEADER, violated))


def test_an_invoice_may_wait_for_a_busy_machine_and_may_not_fail() -> None:
    paid: dict[str, LoadReport] = {
        state: LoadReport([TAKEN, replace(TAKEN, paid=state)], 1.0)
        for state in ("ok", "waiting", "unknown", "failed")
    }
    verdicts = {state: replace(RUN, load=load).verdict for state, load in paid.items()}
    assert verdicts == {"ok": "held", "waiting": "held", "unknown": "held", "failed": "violated"}


def test_what_was_parked_before_a_run_is_no_violation_and_what_is_broken_always_is() -> None:
    before = replace(RUN, parked_before=1, ledger=replace(HOLDS, waiting={"parked": Counter(orders=1)}))
    assert replace(before, judgement=Judgement("waiting", {})).verdict == "held"
    assert replace(before, judgement=Judgement("broken", {})).verdict == "violated"
    assert replace(RUN, judgement=Judgement("waiting", {})).verdict == "violated"


def test_records_that_a_fault_sent_again_are_not_those_of_a_relay() -> None:
    before = Counters(
        redelivered=5, rebalances=1, starts=16, records=100, sent_rows=100, parked=0, redriven=0
    )
    after = Counters(
        redelivered=45, rebalances=4, starts=20, records=163, sent_rows=150, parked=1, redriven=1
    )
    assert bites(before, after, unknown_answers=2, duplicated=10) == Bites(
        redeliveries=40, rebalances=3, unknown_answers=2, resent_by_relays=3, restarts=4, parked=1, redriven=1
    )


def test_a_fault_is_shown_with_the_orders_that_were_answered_while_it_lasted() -> None:
    played = [PlayedFault(PLANNED, began=2.0, ended=4.0), PlayedFault(PLANNED)]
    _add_answers(played, [(1.9, LATE), (2.0, TAKEN), (4.0, replace(TAKEN, seconds=0.7)), (4.1, LATE)])
    assert [(each.answered, each.slowest) for each in played] == [(2, 0.7), (0, 0.0)]


def test_a_report_says_how_to_do_it_again_and_what_each_fault_met() -> None:
    document = json.loads(json.dumps(as_json(HEADER, RUN), default=str))
    assert (document["seed"], document["commit"], document["verdict"]) == (5, "abc", "held")
    assert (document["orders"], document["rate"], document["faults_planned"]) == (100, 10.0, 1)
    assert document["bites"]["redeliveries"] == 7 and document["kills"] == {"fraud-worker": 2}
    assert document["schedule"][0]["met"] == {"killed": 2} and document["asked"] == {
        "waiting": 1,
        "unanswered": 1,
    }
    shown = "\n".join(page(HEADER, RUN))
    assert shown.startswith("# Seed 5: held")
    assert "| 1.5 | 1.6 | 4.7 | kill fraud-worker for 3 s, level 2 | 0 | 0.00 s | killed 2 |" in shown
    assert "The independent judge: holds" in shown
    assert "not asked" in "\n".join(page(HEADER, replace(RUN, judgement=None)))


@pytest.mark.parametrize(
    ("kind", "target", "level", "seconds"),
    [
        ("freeze-all", "fraud", None, None),
        ("pause", None, 3, None),
        ("slow", None, 9, None),
        ("duplicate", "nothing", None, None),
        ("lock", None, None, 601.0),
        ("lock", None, None, 0.0),
    ],
)
def test_a_fault_that_cannot_be_ordered_is_refused_before_anything_is_done(
    kind: str, target: str | None, level: int | None, seconds: float | None
) -> None:
    with pytest.raises(BadUsage):
        fault_of(KINDS[kind], target, level, seconds)


def test_a_table_is_named_by_its_service_or_with_it() -> None:
    assert fault_of(KINDS["lock"], "orders", None, None).target == "orders.inbox"
    assert fault_of(KINDS["lock"], "dead-letters.actions", None, 5.0).target == "dead_letters.actions"
    with pytest.raises(UnknownService):
        fault_of(KINDS["lock"], "nobody.inbox", None, None)


class Stubborn(Injection):
    """Cannot be undone at first, as while its database is down."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def end(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("the database is down")


async def test_a_fault_is_undone_again_and_again_until_that_succeeds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "PAUSE_SECONDS", 0.0)
    await holder._end(Stubborn(failures=3))
    assert json.loads(capsys.readouterr().out) == {"ended": True, "met": {}}


async def test_a_fault_that_cannot_be_undone_in_time_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(holder, "END_SECONDS", 0.0)
    await holder._end(Stubborn(failures=10**9))
    assert "the database is down" in json.loads(capsys.readouterr().out)["not_undone"]
