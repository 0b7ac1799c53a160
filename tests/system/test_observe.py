"""`fanout up --observe`: an order's trace is in the real viewer, and who does not ask for it has nothing of it."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from fanout.local import observers
from fanout.local.ports import Ports
from tests.support.stack import Stack
from tests.support.system import System, until

SERVICES = {"orders", "payments", "inventory", "fraud", "fulfillment", "notifications", "analytics"}
ADDED = {"zipkin", "trace-receiver", "exporter"} | ({"prometheus"} if shutil.which("prometheus") else set())


@dataclass(frozen=True)
class Observed:
    stack: Stack
    said: str

    @property
    def ports(self) -> Ports:
        """The APIs' ports begin one above the base."""
        orders = urlsplit(self.stack.addresses.apis["orders"]).port or 0
        offset = json.loads((self.stack.home / "ports.json").read_text())["orders-api"]
        return Ports(orders - offset)

    def ask(self, url: str, **wanted: str) -> Any:
        return httpx.get(url, params=wanted, timeout=10, trust_env=False).raise_for_status().json()

    def traces(self, tag: str) -> list[list[dict[str, Any]]]:
        """Returns the traces in which a span has the tag, from the viewer's API."""
        viewer = f"http://127.0.0.1:{self.ports.viewer}/api/v2/traces"
        return list(self.ask(viewer, annotationQuery=tag, lookback="3600000", limit="50"))

    def processes(self) -> dict[str, int]:
        """Returns the pid of each process of the stack."""
        found = json.loads(self.stack.must("status", "--json"))["processes"]
        return {each["process"]: each["pid"] for each in found}


@pytest.fixture(scope="module")
def observed(stack: Stack) -> Iterator[Observed]:
    try:
        done = stack.fanout("up", "--observe")
        assert done.returncode == 0, done.stderr
        yield Observed(stack, done.stderr)
    finally:
        stack.must("up", "--no-observe")


async def test_an_orders_trace_is_found_in_the_viewer_with_the_batches_that_link_to_it(
    observed: Observed, system: System
) -> None:
    order_id = await system.order()
    await system.until_status(order_id, "shipped")

    async def complete() -> list[dict[str, Any]] | None:
        found = await asyncio.to_thread(observed.traces, f"fanout.order_id={order_id}")
        spans = [span for trace in found for span in trace if trace[0]["traceId"] == found[0][0]["traceId"]]
        without_parent = {span.get("parentId") for span in spans} - {span["id"] for span in spans}
        has_all = {span["localEndpoint"]["serviceName"] for span in spans} >= SERVICES
        return spans if has_all and without_parent == {None} else None

    spans = await until(complete, 30)
    [root] = [span for span in spans if "parentId" not in span]
    assert (root["kind"], root["name"]) == ("SERVER", "post /orders")

    async def linking() -> set[str] | None:
        found = await asyncio.to_thread(observed.traces, f"link.{root['traceId']}")
        names = {
            span["name"] for trace in found for span in trace if f"link.{root['traceId']}" in span["tags"]
        }
        return names if {"send orders", "process orders"} <= names else None

    await until(linking, 30)
    [address] = [line for line in (await system.fanout("order", order_id)).splitlines() if "trace: " in line]
    assert address == f"trace: http://127.0.0.1:{observed.ports.viewer}/zipkin/traces/{root['traceId']}"


def test_up_says_where_to_look_and_everything_that_was_added_answers(observed: Observed) -> None:
    assert observed.processes().keys() >= ADDED
    for process, page in observers.pages(observed.ports).items():
        assert (page in observed.said) is (process in ADDED), process
        if process in ADDED:
            assert httpx.get(page, timeout=10, trust_env=False, follow_redirects=True).status_code == 200


@pytest.mark.skipif("prometheus" not in ADDED, reason="needs Prometheus: apt-get install prometheus")
async def test_prometheus_measures_every_process_with_our_rules(observed: Observed) -> None:
    prometheus = f"http://127.0.0.1:{observed.ports.prometheus}/api/v1"
    others = {"kafka", "postgres", "registry", "mailbox", "supervisord", "parent-watch"} | ADDED

    async def all_up() -> bool:
        targets = (await asyncio.to_thread(observed.ask, f"{prometheus}/targets"))["data"]["activeTargets"]
        healthy = {each["labels"]["job"] for each in targets if each["health"] == "up"}
        return healthy == observed.processes().keys() - others | {"exporter"}

    await until(all_up, 60)
    rules = (await asyncio.to_thread(observed.ask, f"{prometheus}/rules"))["data"]["groups"]
    assert "ConsumerLagHigh" in {rule["name"] for group in rules for rule in group["rules"]}


async def test_up_alone_leaves_a_stack_observed_and_no_observe_takes_all_of_it_away(
    observed: Observed,
) -> None:
    stack, before = observed.stack, observed.processes()
    await asyncio.to_thread(stack.must, "up")
    assert observed.processes() == before
    await asyncio.to_thread(stack.must, "up", "--no-observe")
    after = observed.processes()
    assert not ADDED & after.keys()
    servers = "kafka", "postgres", "registry", "mailbox"
    assert {name: after[name] for name in servers} == {name: before[name] for name in servers}
    assert [name for name, pid in after.items() if "OTEL_EXPORTER_OTLP_ENDPOINT" in environment(pid)] == []
    assert stack.addresses.traces == ""


def environment(pid: int) -> dict[str, str]:
    return dict(psutil.Process(pid).environ())
