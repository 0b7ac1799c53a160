"""Spans are recorded only where they are asked for, and a collector that is away costs nothing but the spans."""

import gc
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from chassis.telemetry import traces
from chassis.telemetry.recorder import LINKED_EXPORT, LINKED_QUEUE, MANY_LINKS, Recorder
from chassis.telemetry.trace_context import TraceContext, new_root
from tests.support.recorded_spans import ids, links_of, parent_of, recorded_spans

ROOT = Path(__file__).parents[2]
SAMPLED = TraceContext("ab" * 16, "cd" * 8, is_sampled=True, tracestate="vendor=1")
UNSAMPLED = SAMPLED._replace(is_sampled=False)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    yield monkeypatch


@pytest.mark.parametrize(
    ("variables", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "no"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_an_endpoint_switches_recording_on_and_the_variables_for_it_switch_it_off(
    clean_environment: pytest.MonkeyPatch, variables: dict[str, str], is_wanted: bool
) -> None:
    for name, value in variables.items():
        clean_environment.setenv(name, value)
    assert traces.is_wanted() is is_wanted


def test_a_process_without_an_endpoint_does_not_import_the_sdk() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    code = (
        "import sys, chassis.worker, services.orders.api; from chassis.telemetry import traces; "
        "traces.configure('orders', 'api', '', True); "
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("sampler", "argument", "parent", "is_recorded"),
    [
        ("", "", None, True),
        ("", "", SAMPLED, True),
        ("", "", UNSAMPLED, False),
        ("always_on", "", UNSAMPLED, True),
        ("always_off", "", SAMPLED, False),
        ("parentbased_always_off", "", None, False),
        ("parentbased_always_off", "", SAMPLED, True),
        ("parentbased_traceidratio", "0", None, False),
        ("parentbased_traceidratio", "0", SAMPLED, True),
        ("parentbased_traceidratio", "1", UNSAMPLED, False),
        ("traceidratio", "1", UNSAMPLED, True),
    ],
)
def test_the_sampler_decides_as_its_variables_say(
    clean_environment: pytest.MonkeyPatch,
    sampler: str,
    argument: str,
    parent: TraceContext | None,
    is_recorded: bool,
) -> None:
    if sampler:
        clean_environment.setenv("OTEL_TRACES_SAMPLER", sampler)
        clean_environment.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with recorded_spans():
        span = traces.start("process orders", traces.CONSUMER, parent)
        assert (span is not None) is is_recorded
        always = traces.start("process orders", traces.CONSUMER, None, [(UNSAMPLED, None)], always=True)
        assert always and always.context.is_sampled


def test_a_tenth_of_new_traces_is_recorded_if_a_tenth_is_asked_for(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    clean_environment.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    clean_environment.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    with recorded_spans():
        recorded = sum(traces.start("POST", traces.SERVER) is not None for _ in range(3_000))
    assert 200 < recorded < 400


def test_a_span_continues_its_parent_with_tracestate_and_links_to_others(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    with recorded_spans() as spans:
        span = traces.start("process orders", traces.CONSUMER, SAMPLED, [(UNSAMPLED, {"n": 1})])
        assert span and span.context.tracestate == "vendor=1" and span.context.trace_id == SAMPLED.trace_id
        span.exception(ValueError("no stock"))
        span.set_error("no stock")
        span.end()
    ended = spans.one("process orders")
    assert parent_of(ended) == ids(SAMPLED) and links_of(ended) == [ids(UNSAMPLED)]
    assert ended.status.status_code is StatusCode.ERROR and ended.events[0].name == "exception"


def test_the_resource_names_service_and_process_and_the_environment_overrides_it(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    assert resource(RecordedSpansOf()) == ("fraud", "fanout")
    clean_environment.setenv("OTEL_SERVICE_NAME", "mine")
    clean_environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=shop,service.name=other")
    assert resource(RecordedSpansOf()) == ("mine", "shop")


class RecordedSpansOf:
    """Records one span with a recorder made now."""

    def __init__(self) -> None:
        with recorded_spans() as self.spans:
            span = traces.start("POST", traces.SERVER)
            assert span
            span.end()


def resource(of: RecordedSpansOf) -> tuple[object, object]:
    found = of.spans.one("POST").resource.attributes
    assert found["service.instance.id"]
    return found["service.name"], found["service.namespace"]


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted by the system and nobody ever answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        yield silent.getsockname()[1]


@pytest.mark.parametrize(("away", "seconds"), [("closed_port", 10.0), ("silent_port", 0.5)])
def test_a_collector_that_is_away_delays_neither_spans_nor_the_end_and_the_queue_is_bounded(
    request: pytest.FixtureRequest, clean_environment: pytest.MonkeyPatch, away: str, seconds: float
) -> None:
    port = request.getfixturevalue(away)
    clean_environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    recorder = Recorder("fraud", "worker", "")
    links = [(new_root(), None)] * (MANY_LINKS + 1)
    began = time.monotonic()
    for _ in range(3 * LINKED_QUEUE):
        span = recorder.start(f"process {away}", traces.CONSUMER, None, links, None, None, True)
        assert span
        span.end()
    assert time.monotonic() - began < 2.0
    waiting = [
        each for each in gc.get_objects() if isinstance(each, ReadableSpan) and each.name == f"process {away}"
    ]
    assert len(waiting) <= LINKED_QUEUE + LINKED_EXPORT + 1
    began = time.monotonic()
    recorder.shutdown(seconds)
    assert time.monotonic() - began < 2.0
