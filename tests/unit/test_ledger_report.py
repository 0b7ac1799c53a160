"""The verdict on the whole: what counts as lost or twice, when it holds, and what it says at the end."""

from collections import Counter
from dataclasses import replace
from uuid import uuid4

from fanout.verify.invariants import RULES, Verdict
from fanout.verify.records import Forwarded, Partition, Published, Reading, Receipts, Subscription
from fanout.verify.report import Report, as_json, assess
from fanout.verify.table import SHOWN, _verdict

EVENT = Published(uuid4(), "orders", "orders", "OrderPlaced", "o1", 0, 4)
FACTS = {fact: Counter[str]() for rule in RULES for fact in (*rule.every, *rule.has, *rule.lacks)}
FRAUD = Receipts(
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
    books = report(receipts=[replace(FRAUD, applied=set(), applications=0)])
    assert (books.holds, books.conclusion) == (False, "lost 1, applied twice 0")
    assert as_json(books)["consumers"][0]["lost"][0]["order_id"] == "o1"


def test_an_event_on_the_way_is_not_settled_and_not_wrong() -> None:
    books = report(receipts=[replace(FRAUD, applied=set(), applications=0, next_offsets={})])
    assert (books.holds, books.settled, books.conclusion) == (
        True,
        False,
        "lost 0, applied twice 0, on the way 1",
    )


def test_rows_that_the_relay_has_not_sent_are_on_the_way_though_nobody_listens() -> None:
    books = report(unpublished={"orders": 3})
    assert (books.settled, books.conclusion) == (False, "lost 0, applied twice 0, on the way 3")


def test_a_letter_sent_back_is_waited_for_unless_its_consumer_keeps_no_books_here() -> None:
    def settled(consumer: str) -> bool:
        return report(forwarded=[Forwarded(f"orders.{consumer}.retry", 0, 7)]).settled

    assert (settled("fraud"), settled("gone")) == (False, True)


def test_an_application_beyond_the_receipts_is_applied_twice() -> None:
    books = report(receipts=[replace(FRAUD, applications=2)])
    assert (books.holds, books.applied_twice) == (False, 1)


def test_a_receipt_without_an_application_is_lost() -> None:
    assert report(receipts=[replace(FRAUD, applications=0)]).lost == 1


def test_two_facts_of_one_order_are_applied_twice_and_named() -> None:
    books = report(late=FACTS | {"fraud.assessed": Counter({"o1": 2, "o2": 1})})
    assert books.applied_twice == 1
    assert books.verdicts[0].offenders == ["o1 (assessed 2 times)"]


def test_one_fact_under_two_event_ids_is_applied_twice() -> None:
    again = EVENT._replace(event_id=uuid4(), offset=9)
    books = report(outbox=[EVENT, again])
    assert (books.applied_twice, books.holds) == (1, False)


def test_a_second_version_of_an_assessment_is_no_double() -> None:
    assessed = EVENT._replace(event_id=uuid4(), producer="fraud", type="FraudAssessed")
    assert report(outbox=[EVENT, assessed, assessed._replace(event_id=uuid4())]).applied_twice == 0


def test_one_defect_that_shows_in_three_places_counts_once() -> None:
    again = EVENT._replace(event_id=uuid4(), producer="fraud", type="OrderShipped")
    books = report(
        receipts=[replace(FRAUD, applications=2)],
        outbox=[EVENT, again, again._replace(event_id=uuid4())],
        late=FACTS | {"fraud.assessed": Counter({"o1": 2})},
    )
    assert books.applied_twice == 1


def test_an_effect_of_an_event_that_nobody_published_does_not_hold() -> None:
    assert not report(receipts=[replace(FRAUD, applied={EVENT.event_id, uuid4()}, applications=2)]).holds


def test_a_broken_check_of_a_service_does_not_hold() -> None:
    assert not report(offenders={"orders: sums are right": ["o1"]}).holds


def test_a_missing_shipment_is_pending_while_its_order_is_open() -> None:
    confirmed = FACTS | {
        name: Counter(["o1"]) for name in ("orders.confirmed", "payments.authorized", "inventory.reserved")
    }
    assert not report(early=confirmed, late=confirmed).holds
    waiting = [replace(FRAUD, applied=set(), applications=0, next_offsets={})]
    assert report(early=confirmed, late=confirmed, receipts=waiting).holds


def test_ids_are_shown_up_to_a_number() -> None:
    line = _verdict(Verdict("x", [str(number) for number in range(SHOWN + 5)]))
    assert f"{SHOWN + 5}, 0, 1, 2" in line and line.endswith(", …")
