"""The report of `fanout verify`: what counts as lost or applied twice, when it holds, and its conclusion."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import uuid4

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fanout.cli import _app
from fanout.commands import verify
from fanout.commands.verify import _verdict, show
from fanout.verify.invariants import Verdict
from fanout.verify.reconcile import Account, PartitionAccount
from fanout.verify.records import Double, Partition, Published
from fanout.verify.report import Report, as_json, settle
from tests.support.principals import addresses_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVENT = Published(uuid4(), "orders", 1, "orders", "OrderPlaced", "o1", 1, 0, 4)
FRAUD = Account(
    consumer="fraud",
    applied=1,
    parked=0,
    in_flight=0,
    lost=0,
    lost_events=[],
    duplicates=2,
    excess=0,
    deficit=0,
    unknown_producer_parked=0,
)
WAITING = replace(FRAUD, applied=0, in_flight=1, oldest_in_flight=NOON)
CALM = Report([FRAUD], [], [Verdict("a rule"), Verdict("orders: sums are right")], {"orders": 0}, at=NOON)

HOLDS = "holds: lost 0, applied twice 0, in flight 0, parked 0"


def report(**changes: object) -> Report:
    return replace(CALM, **changes)  # type: ignore[arg-type]


def test_a_calm_system_holds() -> None:
    calm = report()
    assert (calm.verdict, calm.settled, calm.conclusion) == ("holds", True, HOLDS)


def test_a_lost_event_is_named() -> None:
    found = report(accounts=[replace(FRAUD, applied=0, lost=1, lost_events=[EVENT])])
    assert (found.verdict, found.conclusion) == ("broken", "broken: lost 1, applied twice 0")
    [consumer] = as_json(found)["consumers"]
    assert (consumer["lost_events"], consumer["lost"][0]["order_id"]) == (1, "o1")
    assert "fraud lost 1: OrderPlaced of o1" in shown(found)


def test_an_event_in_flight_is_waited_for_and_not_wrong() -> None:
    found = report(accounts=[WAITING], at=NOON + timedelta(seconds=38))
    assert (found.verdict, found.settled) == ("waiting", False)
    assert found.conclusion == "waiting: 1 event in flight, oldest 38 s; lost 0, applied twice 0"


def test_a_consumer_that_does_not_move_is_named_in_table_sentence_and_json() -> None:
    at = PartitionAccount(Partition("orders", 3), in_flight=1, lost=0, excess=0)
    stalled = replace(WAITING, stalled_seconds=31.2, partitions=[at])
    found = report(accounts=[stalled], at=NOON + timedelta(seconds=38))
    assert found.conclusion == (
        "waiting: 1 event in flight, oldest 38 s; fraud stalled for 31 s; lost 0, applied twice 0"
    )
    assert "fraud stalled for 31 s: it has received nothing meanwhile; in flight in orders[3] 1" in shown(
        found
    )
    assert as_json(found)["stalled"] == {"fraud": 31.2}


def test_partitions_that_do_not_add_up_are_named() -> None:
    partitions = [
        PartitionAccount(Partition("orders", number), in_flight=0, lost=0, excess=excess)
        for number, excess in enumerate((1, -1))
    ]
    found = report(accounts=[replace(FRAUD, excess=1, deficit=1, partitions=partitions)])
    assert (found.verdict, found.lost, found.applied_twice) == ("broken", 1, 1)
    assert "in orders[0] it applied 1 more than it has receipts for" in shown(found)
    assert "in orders[1] it applied 1 fewer than it has receipts for" in shown(found)


def test_rows_that_the_relay_has_not_sent_are_in_flight_though_no_consumer_subscribes() -> None:
    found = report(unpublished={"orders": 3})
    assert (found.settled, found.conclusion) == (
        False,
        "waiting: 3 events in flight; lost 0, applied twice 0",
    )


PARKED = {"parked (fanout dlq ls)": Counter({"fraud": 2})}


def test_parked_messages_are_in_the_verdict_though_nothing_is_in_flight() -> None:
    found = report(waiting=PARKED)
    assert (found.verdict, found.settled, as_json(found)["parked"]) == ("waiting", True, 2)
    assert found.conclusion == "waiting: 2 parked messages (fanout dlq ls); lost 0, applied twice 0"


def test_without_the_database_of_dead_letters_parked_messages_are_counted_at_their_consumers() -> None:
    parked = replace(FRAUD, applied=0, parked=1)
    assert report(accounts=[parked]).verdict == "waiting"
    assert report(accounts=[parked], waiting={"parked (fanout dlq ls)": Counter()}).verdict == "holds"


def test_what_is_broken_is_named_before_what_waits() -> None:
    found = report(
        held=["fraud cannot read orders[0]"],
        verdicts=[Verdict("x: y", ["o1"])],
        unpublished={"orders": 1},
        waiting=PARKED,
    )
    assert found.conclusion == (
        "broken: lost 0, applied twice 0; 1 check violated; 1 partition cannot be read; "
        "2 parked messages (fanout dlq ls); 1 event in flight"
    )


@pytest.mark.parametrize(
    ("change", "code"),
    [({}, 0), ({"held": ["x"]}, 1), ({"waiting": PARKED}, 3), ({"unpublished": {"orders": 1}}, 3)],
)
@pytest.mark.parametrize("option", ["--all", "--json"])
def test_the_exit_code_and_the_last_line_are_the_verdict(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], code: int, option: str
) -> None:
    async def audited(*_: object, **__: object) -> Report:
        return report(**change)

    monkeypatch.setattr(verify, "running", lambda: addresses_of({}))
    monkeypatch.setattr(verify, "audit", audited)
    done = CliRunner().invoke(_app(["verify"]), ["verify", option])
    said = json.loads(done.stdout)["verdict"] if option == "--json" else done.stdout.splitlines()[-1]
    assert done.exit_code == code
    assert said.startswith({0: "holds", 1: "broken", 3: "waiting"}[code])


async def test_parked_messages_alone_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def audited(*_: object, **__: object) -> Report:
        return report(waiting=PARKED)

    monkeypatch.setattr("fanout.verify.report.audit", audited)
    async with asyncio.timeout(5):
        assert (await settle({}, 3600)).verdict == "waiting"


@pytest.mark.parametrize(
    ("change", "is_said"), [({"waiting": PARKED}, True), ({"unpublished": {"o": 1}}, False)]
)
def test_it_is_said_when_waiting_longer_does_not_help(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], is_said: bool
) -> None:
    async def settled(*_: object, **__: object) -> Report:
        return report(**change)

    monkeypatch.setattr(verify, "running", lambda: addresses_of({}))
    monkeypatch.setattr(verify, "settle", settled)
    done = CliRunner().invoke(_app(["verify"]), ["verify", "--wait", "1s"])
    assert (done.exit_code, "it does not help to wait longer" in done.stderr) == (3, is_said)
    assert done.output.splitlines()[-1].startswith("waiting: ")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [(1, "1 row of its outbox is not yet in Kafka"), (2, "2 rows of its outbox are not yet in Kafka")],
)
def test_one_row_is_no_plural(rows: int, sentence: str) -> None:
    assert f"orders: {sentence}" in shown(report(unpublished={"orders": rows})).splitlines()


def test_what_is_well_is_one_line_unless_everything_is_asked_for() -> None:
    short, long = shown(report()), shown(report(), accounts=True, checks=True)
    assert short.splitlines() == [
        "1 consumer: 1 delivery, all applied once; 2 more were repeats, and ignored",
        "2 checks: 2 ok, 0 pending, 0 violated",
        HOLDS,
    ]
    assert long.count("ok  ") == 2 and "fraud" in long


def test_a_consumer_that_has_parked_something_is_shown_until_that_is_decided() -> None:
    parked = [replace(FRAUD, applied=0, parked=1)]
    decided = {"parked (fanout dlq ls)": Counter[str]()}
    assert "re-" in shown(report(accounts=parked, waiting=PARKED))
    assert "re-" not in shown(report(accounts=parked, waiting=decided))
    assert "0 applied once, 1 parked and decided" in shown(report(accounts=parked, waiting=decided))


def shown(found: Report, **options: bool) -> str:
    console = Console(width=120, record=True, file=StringIO())
    show(found, console, **options)
    return console.export_text()


def test_an_application_beyond_the_receipts_is_applied_twice() -> None:
    found = report(accounts=[replace(FRAUD, excess=1)])
    assert (found.verdict, found.applied_twice) == ("broken", 1)


def test_a_receipt_without_an_application_is_lost() -> None:
    assert report(accounts=[replace(FRAUD, deficit=1)]).lost == 1


def test_one_defect_that_shows_in_three_places_counts_once() -> None:
    shipped = [Double("fraud", what, "o1", 2) for what in ("OrderShipped", "assessed")]
    assert report(accounts=[replace(FRAUD, excess=1)], doubles=shipped).applied_twice == 1
    other = Double("fraud", "assessed", "o2", 2)
    assert report(accounts=[replace(FRAUD, excess=1)], doubles=[*shipped, other]).applied_twice == 2


def test_a_broken_check_of_a_service_does_not_hold() -> None:
    assert report(verdicts=[Verdict("orders: sums are right", ["o1"])]).verdict == "broken"


def test_a_pending_check_is_not_broken() -> None:
    found = report(verdicts=[Verdict("a rule", pending=["o1"])], accounts=[WAITING])
    assert (found.verdict, found.unfinished_orders) == ("waiting", [])
    assert report(verdicts=[Verdict("a rule", pending=["o1"])]).unfinished_orders == ["o1"]


def test_ids_are_shown_up_to_a_number() -> None:
    line = _verdict(Verdict("x", [str(number) for number in range(15)]))
    assert "15, 0, 1, 2" in line and line.endswith(", …")
