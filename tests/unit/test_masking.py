"""Logs and descriptions of errors quote no secret of what their task works on, whoever writes the line."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import MetaData

from chassis.masking import describe, mask_log_line, without_secrets, work_on
from chassis.service import Service
from chassis.telemetry.logs import JsonLine
from schemas import OrderPlaced
from tests.support import sample_events

TOKEN = "tok_recognizable"
NO_DB: Any = None


@pytest.fixture(autouse=True)
def nothing_is_worked_on_afterwards() -> Iterator[None]:
    yield
    work_on(list)


async def failing(error: Exception) -> str:
    """Returns how the error of a handler is described after the handler failed."""
    service = Service("fraud", MetaData())

    @service.on(OrderPlaced)
    async def fail(orders: Sequence[OrderPlaced], db: Any) -> None:
        raise error

    try:
        await service.handlers[OrderPlaced]([sample_events.order_placed("o-1", card_token=TOKEN)], NO_DB)
    except Exception as raised:
        return describe(raised)
    raise AssertionError("the handler did not fail")


class Card(BaseModel):
    number: int


def invalid() -> Exception:
    try:
        Card.model_validate({"number": TOKEN})
    except ValueError as error:
        return error
    raise AssertionError


ORDER = sample_events.order_placed("o-1", card_token=TOKEN)


@pytest.mark.parametrize(
    "error",
    [KeyError(TOKEN), ValueError(f"unknown card {TOKEN}"), ValueError(f"cannot judge {ORDER}"), invalid()],
    ids=["a key", "a sentence", "an event", "an input"],
)
async def test_the_error_of_a_handler_is_described_without_the_secrets_of_its_events(
    error: Exception,
) -> None:
    described = await failing(error)
    assert "***" in described
    assert TOKEN not in described


async def test_a_secret_is_masked_before_a_description_is_cut() -> None:
    described = await failing(ValueError("x" * (300 - len("ValueError: ") - 8) + TOKEN))
    assert "tok_" not in described


async def test_tasks_do_not_know_each_others_secrets() -> None:
    async def other() -> str:
        return without_secrets(TOKEN)

    waiting = asyncio.create_task(other())
    work_on(lambda: [{"card_token": TOKEN}])
    assert (await waiting, without_secrets(TOKEN)) == (TOKEN, "***")


def test_a_log_line_is_masked_by_names_in_every_field_and_by_values_in_its_errors() -> None:
    work_on(lambda: [{"card_token": TOKEN}])
    line = {
        "card_token": TOKEN,
        "note": f"card_token={TOKEN}",
        "reason": f"KeyError: {TOKEN}",
        "exception": f"Traceback …\nKeyError: '{TOKEN}'",
        "error": KeyError(TOKEN),
        "order_id": "o-1",
        "rows": 3,
    }
    written = mask_log_line(None, "info", dict(line))
    assert TOKEN not in json.dumps(written)
    assert (written["order_id"], written["rows"], written["error"]) == ("o-1", 3, "KeyError: '***'")


def test_lines_of_libraries_are_masked_with_their_tracebacks() -> None:
    work_on(lambda: [{"card_token": TOKEN}])
    try:
        raise KeyError(TOKEN)
    except KeyError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed: %s", (TOKEN,), sys.exc_info())
    written = json.loads(JsonLine().format(record))
    assert written["event"] == "failed: ***" and "KeyError" in written["exception"]
    assert TOKEN not in json.dumps(written)


def test_an_error_that_ends_the_process_is_logged_without_secrets() -> None:
    program = """
from chassis.masking import work_on
from chassis.telemetry.logs import configure_logging
configure_logging("fraud", "worker", "INFO")
work_on(lambda: [{"card_token": "tok_" + "recognizable"}])
raise KeyError("tok_" + "recognizable")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    line = json.loads(done.stdout)
    assert (line["event"], line["service"], "KeyError: '***'" in line["exception"]) == (
        "process_failed",
        "fraud",
        True,
    )
    assert TOKEN not in done.stdout + done.stderr
