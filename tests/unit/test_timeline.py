"""An order's timeline: who heard what and how soon, and who has still to hear it."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from rich.console import Console

from fanout.commands.order import _parsed
from fanout.errors import BadUsage
from fanout.timeline.history import Heard, Said, Step, _step
from fanout.timeline.table import as_json, show

START = datetime(2030, 1, 1, tzinfo=UTC)
ORDER = UUID("019a2f6c-0d1e-7a3b-9c4d-5e6f70819203")
PLACED = Said("orders", uuid4(), "orders", "OrderPlaced", 1, START, START)
LISTENING = [(name, "orders", "OrderPlaced") for name in ("fraud", "payments", "inventory")]


def step() -> Step:
    later = START + timedelta(milliseconds=12)
    heard = [
        Heard("payments", PLACED.event_id, "applied", later),
        Heard("fraud", PLACED.event_id, "parked", later),
        Heard("fraud", uuid4(), "applied", later),
    ]
    return _step(PLACED, heard, [*LISTENING, ("orders", "payments", "PaymentProcessed")])


def test_a_step_knows_who_heard_and_who_still_waits() -> None:
    found = step()
    assert [hearing.consumer for hearing in found.heard] == ["payments", "fraud"]
    assert found.waiting == ["inventory"]


def test_the_table_shows_delays_parking_and_waiting() -> None:
    page = StringIO()
    show(ORDER, [step()], Console(file=page, width=100))
    lines = page.getvalue().splitlines()
    assert any("payments" in line and line.rstrip().endswith("12") for line in lines)
    assert any("fraud (parked)" in line for line in lines)
    assert any("inventory" in line and line.rstrip().endswith("not yet") for line in lines)


def test_json_has_the_same_in_milliseconds() -> None:
    (event,) = as_json(ORDER, [step()])["events"]
    assert event["heard"][0] == {"consumer": "payments", "status": "applied", "milliseconds": 12}
    assert event["waiting"] == ["inventory"]


def test_what_is_no_uuid_is_refused_in_one_sentence() -> None:
    with pytest.raises(BadUsage, match="'42' is not an order id"):
        _parsed("42")
