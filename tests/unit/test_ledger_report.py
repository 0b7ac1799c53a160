"""The report of `fanout verify`: what counts as lost or applied twice, when it holds, and its conclusion."""

from collections import Counter
from dataclasses import replace
from uuid import uuid4

from fanout.commands.verify import _verdict
from fanout.verify.invariants import RULES, Verdict
from fanout.verify.records import ConsumerState, Forwarded, Partition, Published, Reading, Subscription
from fanout.verify.report import Report, as_json, assess

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
CALM = Reading([FRAUD], [EVENT], {"orders": 0}, FACTS, FACTS, {"orders: sums are right": []})


def report(**changes: object) -> Report:
    return assess(replace(CALM, **changes))  # type: ignore[arg-type]


def test_a_calm_system_holds() -> None:
    calm = report()
    assert (calm.holds, calm.settled, calm.conclusion) == (True, True, "lost 0, applied twice 0")


def test_a_lost_event_is_named() -> None:
    found = report(consumers=[replace(FRAUD, applied=set(), applications=0)])
    assert (found.holds, found.conclusion) == (False, "lost 1, applied twice 0")
    assert as_json(found)["consumers"][0]["lost"][0]["order_id"] == "o1"


def test_an_event_in_flight_is_not_settled_and_not_wrong() -> None:
    found = report(consumers=[replace(FRAUD, applied=set(), applications=0, next_offsets={})])
    assert (found.holds, found.settled, found.conclusion) == (
        True,
        False,
        "lost 0, applied twice 0, in flight 1",
    )


def test_rows_that_the_relay_has_not_sent_are_in_flight_though_no_consumer_subscribes() -> None:
    found = report(unpublished={"orders": 3})
    assert (found.settled, found.conclusion) == (False, "lost 0, applied twice 0, in flight 3")


def test_a_redriven_dead_letter_is_waited_for_unless_its_consumer_is_not_in_these_databases() -> None:
    def settled(consumer: str) -> bool:
        return report(forwarded=[Forwarded(f"orders.{consumer}.retry", 0, 7)]).settled

    assert (settled("fraud"), settled("gone")) == (False, True)


def test_an_application_beyond_the_receipts_is_applied_twice() -> None:
    found = report(consumers=[replace(FRAUD, applications=2)])
    assert (found.holds, found.applied_twice) == (False, 1)


def test_a_receipt_without_an_application_is_lost() -> None:
    assert report(consumers=[replace(FRAUD, applications=0)]).lost == 1


def test_two_facts_of_one_order_are_applied_twice_and_named() -> None:
    found = report(late=FACTS | {"fraud.assessed": Counter({"o1": 2, "o2": 1})})
    assert found.applied_twice == 1
    assert found.verdicts[0].offenders == ["o1 (assessed 2 times)"]


def test_one_fact_under_two_event_ids_is_applied_twice() -> None:
    again = EVENT._replace(event_id=uuid4(), offset=9)
    found = report(outbox=[EVENT, again])
    assert (found.applied_twice, found.holds) == (1, False)


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
    assert not report(consumers=[replace(FRAUD, applied={EVENT.event_id, uuid4()}, applications=2)]).holds


def test_a_broken_check_of_a_service_does_not_hold() -> None:
    assert not report(offenders={"orders: sums are right": ["o1"]}).holds


def test_a_missing_shipment_is_pending_while_its_order_is_open() -> None:
    confirmed = FACTS | {
        name: Counter(["o1"]) for name in ("orders.confirmed", "payments.authorized", "inventory.reserved")
    }
    assert not report(early=confirmed, late=confirmed).holds
    waiting = [replace(FRAUD, applied=set(), applications=0, next_offsets={})]
    assert report(early=confirmed, late=confirmed, consumers=waiting).holds


def test_ids_are_shown_up_to_a_number() -> None:
    line = _verdict(Verdict("x", [str(number) for number in range(15)]))
    assert "15, 0, 1, 2" in line and line.endswith(", …")
