"""An order's timeline: which consumer received which event how soon, and which has not received it yet."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from fanout import order_tree
from fanout.commands.order import as_json, parsed, show
from fanout.errors import BadUsage
from fanout.order_timeline import Parked, PublishedEvent, ReceivedEvent, Step, step

START = datetime(2030, 1, 1, tzinfo=UTC)
ORDER = UUID("019a2f6c-0d1e-7a3b-9c4d-5e6f70819203")
PLACED = PublishedEvent("orders", uuid4(), "orders", "OrderPlaced", 1, START, START)
SUBSCRIPTIONS = [(name, "orders", "OrderPlaced") for name in ("fraud", "payments", "inventory")]


def placed() -> Step:
    later = START + timedelta(milliseconds=12)
    received = [
        ReceivedEvent("payments", PLACED.event_id, "applied", later),
        ReceivedEvent("fraud", PLACED.event_id, "parked", later),
        ReceivedEvent("fraud", uuid4(), "applied", later),
    ]
    return step(PLACED, received, [*SUBSCRIPTIONS, ("orders", "payments", "PaymentProcessed")])


def test_a_step_has_the_consumers_that_received_it_and_those_that_have_not() -> None:
    found = placed()
    assert [each.consumer for each in found.received] == ["payments", "fraud"]
    assert found.waiting == ["inventory"]


def test_the_table_shows_delays_parking_and_waiting() -> None:
    page = StringIO()
    show(ORDER, [placed()], Console(file=page, width=100))
    lines = page.getvalue().splitlines()
    assert any("payments" in line and line.rstrip().endswith("12") for line in lines)
    assert any("fraud (parked)" in line for line in lines)
    assert any("inventory" in line and line.rstrip().endswith("not yet") for line in lines)


def test_json_has_the_same_in_milliseconds() -> None:
    (event,) = as_json(ORDER, [placed()])["events"]
    assert event["received"][0] == {"consumer": "payments", "status": "applied", "milliseconds": 12}
    assert event["waiting"] == ["inventory"]


def test_the_tree_and_the_table_have_the_same_milliseconds() -> None:
    sent, later = START + timedelta(microseconds=1400), START + timedelta(microseconds=2800)
    event = replace(PLACED, published_at=sent)
    steps = [step(event, [ReceivedEvent("payments", PLACED.event_id, "applied", later)], [])]
    page = StringIO()
    order_tree.show(ORDER, order_tree.arranged(steps), Console(file=page, width=100))
    assert as_json(ORDER, steps)["events"][0]["received"][0]["milliseconds"] == 3
    assert "3 ms later (outbox 1, Kafka 2)" in page.getvalue()


def test_what_is_no_uuid_is_refused_in_one_sentence() -> None:
    with pytest.raises(BadUsage, match="'42' is not an order id"):
        parsed("42")


def at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def published(type: str, service: str, created: int, sent: int | None, trace: str = "a") -> PublishedEvent:
    return PublishedEvent(
        service, uuid4(), "topic", type, 1, at(created), None if sent is None else at(sent), trace
    )


def applied(consumer: str, event: PublishedEvent, after: int, **more: Any) -> ReceivedEvent:
    return ReceivedEvent(consumer, event.event_id, "applied", at(after), **more)


def tree(*steps: Step) -> str:
    page = StringIO()
    order_tree.show(ORDER, order_tree.arranged(steps), Console(file=page, width=80))
    return page.getvalue()


ORDERED = published("OrderPlaced", "orders", 0, 8)


def test_the_tree_shows_what_led_to_what_and_where_it_waited() -> None:
    paid = published("PaymentProcessed", "payments", 30, 33)
    confirmed = published("OrderConfirmed", "orders", 50, 52)
    said = tree(
        Step(ORDERED, [applied("payments", ORDERED, 20), applied("fraud", ORDERED, 25)], ["inventory"]),
        Step(paid, [applied("orders", paid, 40)], []),
        Step(confirmed, [], []),
    )
    assert said.splitlines()[1:] == [
        "OrderPlaced by orders, at 0 ms",
        "├── payments  20 ms later (outbox 8, Kafka 12)",
        "│   └── PaymentProcessed by payments, at 30 ms",
        "│       └── orders  10 ms later (outbox 3, Kafka 7)",
        "│           └── OrderConfirmed by orders, at 50 ms",
        "├── fraud  25 ms later (outbox 8, Kafka 17)",
        "└── inventory: not yet",
    ]


@pytest.mark.parametrize(("trace", "cause"), [("a", "StockReserved"), ("b", "PaymentProcessed"), ("c", None)])
def test_the_cause_is_the_last_event_of_its_trace_that_its_service_had_applied_before(
    trace: str, cause: str | None
) -> None:
    assessed = published("FraudAssessed", "fraud", 9, 11)
    reserved = published("StockReserved", "inventory", 10, 12)
    paid = published("PaymentProcessed", "payments", 900, 905, trace="b")  # by a request of its own
    confirmed = published("OrderConfirmed", "orders", 1000, 1002, trace)
    late = published("StockReleased", "inventory", 999, 1001, trace)
    parked = published("OrderShipped", "fulfillment", 998, 999, trace)
    nodes = order_tree.arranged(
        [
            Step(ORDERED, [applied("inventory", ORDERED, 5), applied("fraud", ORDERED, 6)], []),
            Step(assessed, [applied("orders", assessed, 15)], []),
            Step(reserved, [applied("orders", reserved, 20)], []),
            Step(paid, [applied("orders", paid, 950), applied("fraud", paid, 960)], []),
            Step(parked, [replace(applied("orders", parked, 999), status="parked")], []),
            Step(late, [applied("orders", late, 4000)], []),
            Step(confirmed, [], []),
        ]
    )
    assert cause_of("OrderConfirmed", nodes) == cause
    assert cause_of("StockReserved", nodes) == cause_of("FraudAssessed", nodes) == "OrderPlaced"


def cause_of(type: str, nodes: list[order_tree.Node], cause: str | None = None) -> str | None:
    """Returns the type of the event under which an event of this type stands; None if it stands at the top."""
    for node in nodes:
        if node.event.type == type:
            return cause
        for hop in node.hops:
            if found := cause_of(type, hop.led_to, node.event.type):
                return found
    return None


def test_the_tree_shows_what_was_parked_redriven_and_cannot_be_sent() -> None:
    parked = Parked(2, at(30), "Undecodable: [red]cut off[/]")
    again = published("OrderCancelled", "orders", 60, None)
    refused = replace(again, event_id=uuid4(), error="MSG_SIZE_TOO_LARGE: 3 MB")
    said = tree(
        Step(
            ORDERED,
            [
                replace(applied("fraud", ORDERED, 30, parked=(parked,)), status="parked"),
                applied("payments", ORDERED, 50, redrive=1, parked=(parked,)),
            ],
            [],
        ),
        Step(replace(again, trace_id="c"), [], []),
        Step(replace(refused, trace_id="d"), [], []),
    )
    assert "fraud (parked)  30 ms later" in said
    assert said.count("parked 22 ms after it was sent, 2 tries: Undecodable: [red]cut off[/]") == 2
    assert "payments  50 ms later (outbox 8, then parked until redriven)" in said and "redriven once" in said
    assert "OrderCancelled by orders, at 60 ms, still in the outbox" in said
    assert "at 60 ms, cannot be sent: MSG_SIZE_TOO_LARGE: 3 MB" in said


def test_a_consumer_that_was_faster_than_the_delivery_report_has_no_negative_time() -> None:
    assert "20 ms later (outbox 20, Kafka 0)" in tree(
        Step(replace(ORDERED, published_at=at(25)), [applied("fraud", ORDERED, 20)], [])
    )


def test_the_tree_in_json_has_the_same() -> None:
    paid = published("PaymentProcessed", "payments", 30, 33)
    steps = [Step(ORDERED, [applied("payments", ORDERED, 20)], ["fraud"]), Step(paid, [], [])]
    [root] = order_tree.as_json(ORDER, order_tree.arranged(steps))["events"]
    [hop] = root["received"]
    assert (root["waiting"], hop["milliseconds_in_outbox"], hop["milliseconds_in_kafka"]) == (
        ["fraud"],
        8,
        12,
    )
    assert hop["led_to"][0]["type"] == "PaymentProcessed"
