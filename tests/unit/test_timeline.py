"""An order's timeline: which consumer received which event how soon, and which has not received it yet."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from fanout.commands.order import PublishedEvent, ReceivedEvent, Step, as_json, parsed, show, step
from fanout.errors import BadUsage

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


def test_what_is_no_uuid_is_refused_in_one_sentence() -> None:
    with pytest.raises(BadUsage, match="'42' is not an order id"):
        parsed("42")
