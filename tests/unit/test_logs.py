"""Logs have a line for each event while they are few, and their number while they are many."""

import json
import logging

import pytest
import structlog
from structlog.testing import capture_logs

from chassis.telemetry import logs
from chassis.telemetry.logs import LineBudget, Summary, log_each


@pytest.fixture(autouse=True)
def a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_budget", LineBudget(10.0))
    monkeypatch.setattr(logs, "_summary", Summary())


def test_few_events_are_logged_one_by_one_with_their_fields() -> None:
    with capture_logs() as lines:
        log_each(structlog.get_logger(), "event_applied", [1, 2, 3], lambda n: {"order_id": f"o-{n}"})
    assert [(line["event"], line["order_id"]) for line in lines] == [
        ("event_applied", "o-1"),
        ("event_applied", "o-2"),
        ("event_applied", "o-3"),
    ]


def test_many_events_are_one_line_and_their_fields_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("chassis.telemetry.logs.time.monotonic", lambda: now)
    log = structlog.get_logger()
    with capture_logs() as lines:
        for _ in range(50):
            log_each(log, "event_applied", range(1_000), lambda n: pytest.fail("made the fields of a line"))
        now += 1.0
        log_each(log, "event_applied", range(1_000), lambda n: {})
    assert [(line["event"], line["count"]) for line in lines] == [
        ("event_applied_many", 1_000),
        ("event_applied_many", 50_000),
    ]


def test_the_budget_fills_up_again_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("chassis.telemetry.logs.time.monotonic", lambda: now)
    budget = LineBudget(10.0)
    assert (budget.take(10), budget.take(1)) == (True, False)
    now += 0.5
    assert (budget.take(6), budget.take(5)) == (False, True)
    now += 3600
    assert (budget.take(11), budget.take(10)) == (False, True)


@pytest.mark.parametrize(
    "value", ["\ud800 half a character", 2**70, {1: "a key that is no string"}, object()]
)
def test_a_line_is_json_whatever_its_values_are(value: object) -> None:
    written = logs._to_json({"event": "x", "value": value})
    assert json.loads(written)["event"] == "x"


def test_an_absent_collector_is_one_line_a_minute_whatever_is_said_about_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("chassis.telemetry.logs.time.monotonic", lambda: now)
    passes = logs.RepeatFilter(10.0)
    exporter, queue = "opentelemetry.exporter.otlp.proto.http", "opentelemetry.sdk._shared_internal"
    assert [passes.filter(line(exporter, "Failed")), passes.filter(line(queue, "Queue full"))] == [
        True,
        False,
    ]
    assert passes.filter(line("aiokafka", "Failed"))
    now += 59.0
    assert not passes.filter(line(exporter, "Failed"))
    now += 1.0
    assert passes.filter(line(queue, "Queue full"))


def line(logger: str, text: str) -> logging.LogRecord:
    return logging.LogRecord(logger, logging.WARNING, "", 0, text, (), None)
