"""The report of `fanout verify`: what counts as lost or applied twice, when it holds, and its conclusion."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from rich.console import Console
from typer.testing import CliRunner
from uuid_utils import uuid7

from fanout.cli import _app
from fanout.commands import verify
from fanout.commands.verify import _verdict, show
from fanout.verify.invariants import RULES, Verdict
from fanout.verify.records import ConsumerState, Forwarded, Partition, Published, Reading, Subscription
from fanout.verify.report import Report, as_json, assess, settle
from tests.support.principals import addresses_of

EVENT = Published(uuid4(), "orders", "orders", "OrderPlaced", "o1", 0, 4)
FACTS = {fact: Counter[str]() for rule in RULES for fact in (*rule.every, *rule.has, *rule.lacks)}
FRAUD = ConsumerState(
    consumer="fraud",
    subscriptions={Subscription("orders", "OrderPlaced")},
    next_offsets={Partition("orders", 0): 5},
    applications=1,
    duplicates=2,
    applied={EVENT.event_id},
    parked=set(),
)
CALM = Reading([FRAUD], [EVENT], {"orders": 0}, FACTS, FACTS)

HOLDS = "holds: lost 0, applied twice 0, in flight 0, parked 0"


def report(offenders: Any = (), **changes: object) -> Report:
    """`offenders` violate the one check of contents."""
    of_contents = [Verdict("orders: sums are right", offenders)]
    return assess(replace(CALM, **changes), of_contents)  # type: ignore[arg-type]


def test_a_calm_system_holds() -> None:
    calm = report()
    assert (calm.verdict, calm.settled, calm.conclusion) == ("holds", True, HOLDS)


def test_a_lost_event_is_named() -> None:
    found = report(consumers=[replace(FRAUD, applied=set(), applications=0)])
    assert (found.verdict, found.conclusion) == ("broken", "broken: lost 1, applied twice 0")
    assert as_json(found)["consumers"][0]["lost"][0]["order_id"] == "o1"


def test_an_event_in_flight_is_waited_for_and_not_wrong() -> None:
    made = uuid7()
    waiting = [replace(FRAUD, applied=set(), applications=0, next_offsets={})]
    found = report(consumers=waiting, outbox=[EVENT._replace(event_id=UUID(str(made)))])
    assert (found.verdict, found.settled) == ("waiting", False)
    found = replace(found, at=datetime.fromtimestamp(made.timestamp / 1000, UTC) + timedelta(seconds=38))
    assert found.conclusion == "waiting: 1 event in flight, the oldest for 38 s; lost 0, applied twice 0"


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
    parked = replace(FRAUD, applied=set(), applications=0, parked={EVENT.event_id})
    assert report(consumers=[parked]).verdict == "waiting"
    assert report(consumers=[parked], waiting={"parked (fanout dlq ls)": Counter()}).verdict == "holds"


def test_what_is_broken_is_named_before_what_waits() -> None:
    found = report(
        held=["fraud cannot read orders[0]"],
        offenders=["o1"],
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
    async def audited(_: object) -> Report:
        return report(**change)

    monkeypatch.setattr(verify, "running", lambda: addresses_of({}))
    monkeypatch.setattr(verify, "audit", audited)
    done = CliRunner().invoke(_app(["verify"]), ["verify", option])
    said = json.loads(done.stdout)["verdict"] if option == "--json" else done.stdout.splitlines()[-1]
    assert done.exit_code == code
    assert said.startswith({0: "holds", 1: "broken", 3: "waiting"}[code])


async def test_parked_messages_alone_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def audited(_: object) -> Report:
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
    async def settled(*_: object) -> Report:
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
        f"{len(RULES) + 3} checks: {len(RULES) + 3} ok, 0 pending, 0 violated",
        HOLDS,
    ]
    assert long.count("ok  ") == len(RULES) + 3 and "fraud" in long


def test_a_consumer_that_has_parked_something_is_shown_until_that_is_decided() -> None:
    parked = [replace(FRAUD, applied=set(), applications=0, parked={EVENT.event_id})]
    decided = {"parked (fanout dlq ls)": Counter[str]()}
    assert "re-" in shown(report(consumers=parked, waiting=PARKED))
    assert "re-" not in shown(report(consumers=parked, waiting=decided))
    assert "0 applied once, 1 parked and decided" in shown(report(consumers=parked, waiting=decided))


def shown(found: Report, **options: bool) -> str:
    console = Console(width=120, record=True, file=StringIO())
    show(found, console, **options)
    return console.export_text()


def test_a_redriven_dead_letter_is_waited_for_unless_its_consumer_is_not_in_these_databases() -> None:
    def settled(consumer: str) -> bool:
        return report(forwarded=[Forwarded(f"orders.{consumer}.retry", 0, 7)]).settled

    assert (settled("fraud"), settled("gone")) == (False, True)


def test_an_application_beyond_the_receipts_is_applied_twice() -> None:
    found = report(consumers=[replace(FRAUD, applications=2)])
    assert (found.verdict, found.applied_twice) == ("broken", 1)


def test_a_receipt_without_an_application_is_lost() -> None:
    assert report(consumers=[replace(FRAUD, applications=0)]).lost == 1


def test_two_facts_of_one_order_are_applied_twice_and_named() -> None:
    found = report(late=FACTS | {"fraud.assessed": Counter({"o1": 2, "o2": 1})})
    assert found.applied_twice == 1
    assert found.verdicts[0].offenders == ["o1 (assessed 2 times)"]


def test_one_fact_under_two_event_ids_is_applied_twice() -> None:
    again = EVENT._replace(event_id=uuid4(), offset=9)
    found = report(outbox=[EVENT, again])
    assert (found.applied_twice, found.verdict) == (1, "broken")


def test_a_second_version_of_an_assessment_is_no_double() -> None:
    assessed = EVENT._replace(event_id=uuid4(), producer="fraud", type="FraudAssessed")
    assert report(outbox=[EVENT, assessed, assessed._replace(event_id=uuid4())]).applied_twice == 0


def test_one_defect_that_shows_in_three_places_counts_once() -> None:
    again = EVENT._replace(event_id=uuid4(), producer="fraud", type="OrderShipped")
    found = report(
        consumers=[replace(FRAUD, applications=2)],
        outbox=[EVENT, again, again._replace(event_id=uuid4())],
        late=FACTS | {"fraud.assessed": Counter({"o1": 2})},
    )
    assert found.applied_twice == 1


def test_an_effect_of_an_event_without_a_published_event_does_not_hold() -> None:
    assert (
        report(consumers=[replace(FRAUD, applied={EVENT.event_id, uuid4()}, applications=2)]).verdict
        == "broken"
    )


def test_a_broken_check_of_a_service_does_not_hold() -> None:
    assert report(offenders=["o1"]).verdict == "broken"


def test_a_missing_shipment_is_pending_while_its_order_is_open() -> None:
    confirmed = FACTS | {
        name: Counter(["o1"]) for name in ("orders.confirmed", "payments.authorized", "inventory.reserved")
    }
    assert report(early=confirmed, late=confirmed).verdict == "broken"
    waiting = [replace(FRAUD, applied=set(), applications=0, next_offsets={})]
    assert report(early=confirmed, late=confirmed, consumers=waiting).verdict == "waiting"


def test_ids_are_shown_up_to_a_number() -> None:
    line = _verdict(Verdict("x", [str(number) for number in range(15)]))
    assert "15, 0, 1, 2" in line and line.endswith(", …")
