"""A request is one span, named by its route, which continues the caller's trace and says how it ended."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import REGISTRY
from sqlalchemy import MetaData

from chassis.errors import InfrastructureFailure
from chassis.http.app import Problem, create_api
from chassis.service import Service
from chassis.telemetry.trace_context import TraceContext, parent_of
from tests.support.recorded_spans import RecordedSpans, context_of, ids, recorded_spans
from tests.support.recorded_spans import parent_of as parent_of_span

CALLER = TraceContext("ab" * 16, "cd" * 8, is_sampled=True, tracestate="vendor=1")


@pytest.fixture
def spans() -> Iterator[RecordedSpans]:
    with recorded_spans() as recorded:
        yield recorded


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(Service("orders", MetaData()))

    @app.get("/things/{thing_id}")
    async def thing(thing_id: str) -> dict[str, str]:
        if thing_id == "bug":
            raise ZeroDivisionError("by zero")
        if thing_id == "outage":
            raise InfrastructureFailure("Postgres is away")
        if thing_id == "unknown":
            raise Problem(404, "unknown thing", "There is none.")
        parent = parent_of("")
        assert parent
        return {"traceparent": parent.traceparent, "tracestate": parent.tracestate}

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
        yield client


async def test_a_request_continues_the_callers_trace_and_what_it_publishes_continues_the_request(
    client: httpx.AsyncClient, spans: RecordedSpans
) -> None:
    headers = {"traceparent": CALLER.traceparent, "tracestate": CALLER.tracestate, "baggage": "user=1"}
    answer = await client.get("/things/7", headers=headers)
    span = spans.one("GET /things/{thing_id}", http__response__status_code=200, url__path="/things/7")
    assert parent_of_span(span) == ids(CALLER) and span.kind is SpanKind.SERVER and span.status.is_unset
    assert answer.json()["traceparent"].split("-")[1:3] == list(context_of(span))
    assert answer.json()["tracestate"] == "vendor=1"


@pytest.mark.parametrize(
    ("thing", "status", "error"),
    [("bug", 500, "ZeroDivisionError"), ("outage", 503, "InfrastructureFailure"), ("unknown", 404, None)],
)
async def test_a_failure_of_the_server_is_an_error_with_its_exception_and_a_refusal_is_none(
    client: httpx.AsyncClient, spans: RecordedSpans, thing: str, status: int, error: str | None
) -> None:
    await client.get(f"/things/{thing}")
    span = spans.one("GET /things/{thing_id}", http__response__status_code=status)
    assert (span.status.status_code is StatusCode.ERROR) is (error is not None)
    assert (span.attributes or {}).get("error.type") == error
    assert [(event.attributes or {})["exception.type"] for event in span.events] == [error] * bool(error)


async def test_a_request_that_is_not_sampled_leaves_the_callers_context_as_it_is(
    client: httpx.AsyncClient, spans: RecordedSpans
) -> None:
    caller = CALLER._replace(is_sampled=False)
    answer = await client.get("/things/7", headers={"traceparent": caller.traceparent})
    assert answer.json()["traceparent"] == caller.traceparent
    assert not spans.all()


async def test_without_recording_a_new_trace_is_marked_as_not_recorded(client: httpx.AsyncClient) -> None:
    answer = await client.get("/things/7", headers={"traceparent": CALLER.traceparent.upper()})
    assert answer.json()["traceparent"].endswith("-00")
    assert CALLER.trace_id not in answer.json()["traceparent"]


async def test_the_time_of_requests_is_counted_by_route_and_not_by_what_clients_invent(
    client: httpx.AsyncClient, spans: RecordedSpans
) -> None:
    before = {labels: count(*labels) for labels in COUNTED}
    await client.get("/things/7")
    await client.get("/no/such/path")
    await client.request("INVENTED", "/things/8")
    assert {labels: count(*labels) - before[labels] for labels in COUNTED} == dict.fromkeys(COUNTED, 1.0)
    assert {span.name for span in spans.all()} == {
        "GET /things/{thing_id}",
        "GET",
        "_OTHER /things/{thing_id}",
    }


COUNTED = [
    ("GET", "/things/{thing_id}", "200"),
    ("GET", "none", "404"),
    ("_OTHER", "/things/{thing_id}", "405"),
]


def count(method: str, route: str, status: str) -> float:
    labels = {"method": method, "route": route, "status": status}
    return REGISTRY.get_sample_value("fanout_http_request_duration_seconds_count", labels) or 0.0
