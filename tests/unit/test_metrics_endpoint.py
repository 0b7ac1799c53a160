"""`/metrics` answers in the format that is asked for: OpenMetrics has exemplars, the plain format has none."""

import httpx
import pytest
from prometheus_client import Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.applications import Starlette

from chassis.http.health import health_routes

SECONDS = Histogram("fanout_test_seconds", "Seconds of a test", buckets=(1, 2))
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


async def scraped(**headers: str) -> httpx.Response:
    app = Starlette(routes=health_routes(lambda: pytest.fail("asks no database")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return await http.get("/metrics", headers=headers)


async def test_prometheus_is_answered_in_openmetrics_with_exemplars() -> None:
    SECONDS.observe(1.5, {"trace_id": TRACE_ID, "span_id": SPAN_ID})
    answer = await scraped(Accept=PROMETHEUS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}  # type: ignore[no-untyped-call]
    exemplars = [each.exemplar for each in families["fanout_test_seconds"].samples if each.exemplar]
    assert [(each.labels, each.value) for each in exemplars] == [
        ({"trace_id": TRACE_ID, "span_id": SPAN_ID}, 1.5)
    ]


async def test_everybody_else_is_answered_in_the_plain_format_without_exemplars() -> None:
    SECONDS.observe(1.5, {"trace_id": TRACE_ID, "span_id": SPAN_ID})
    answer = await scraped()
    assert answer.headers["content-type"].startswith("text/plain")
    assert "fanout_test_seconds_bucket" in answer.text and TRACE_ID not in answer.text
