"""A real Prometheus that reads our rules and asks the processes of a running stack, with the exporter beside them."""

import asyncio
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fanout.local.ports import free_port
from fanout.observe.targets import Target, as_json
from tests.support.stack import REPOSITORY, Stack
from tests.support.system import until

CONFIGURATION = REPOSITORY / "deploy/observability/prometheus.yml"
RULES = REPOSITORY / "deploy/observability/rules.yml"
EXPORTER = "exporter"

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Prometheus: apt-get install prometheus"
)


@dataclass(frozen=True)
class Prometheus:
    http: httpx.AsyncClient

    async def query(self, expression: str) -> list[dict[str, str]]:
        """Returns the labels of each series of which the expression has a number now."""
        answer = await self.http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found = answer.json()["data"]
        series = found["result"] if found["resultType"] == "vector" else [{"value": found["result"]}]
        return [each.get("metric", {}) for each in series if not math.isnan(float(each["value"][1]))]

    async def firing(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the alerts that fire, by name."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in (await self.http.get("/api/v1/alerts")).json()["data"]["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    async def answers(self) -> bool:
        try:
            return (await self.http.get("/-/ready")).is_success
        except httpx.TransportError:
            return False


@asynccontextmanager
async def watching(stack: Stack, folder: Path, every: str | None = None) -> AsyncIterator[Prometheus]:
    """Prometheus scrapes and evaluates `every` so often, else as it is configured."""
    exporter, port = free_port(), free_port()
    targets = [*processes(stack), Target(EXPORTER, f"127.0.0.1:{exporter}")]
    (folder / "targets.json").write_text(as_json(targets))
    (folder / "alertmanagers.json").write_text("[]")
    for file in (CONFIGURATION, RULES):
        (folder / file.name).write_text(paced(every, file.read_text()) if every else file.read_text())
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data")
    measure = [sys.executable, "-m", "fanout", "exporter", "--port", str(exporter)]
    look = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
    with (
        running(measure, REPOSITORY, stack.environment, folder / "exporter.log"),
        running(look, folder, os.environ, folder / "prometheus.log"),
    ):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            prometheus = Prometheus(http)
            await until(prometheus.answers)
            yield prometheus


def processes(stack: Stack) -> Iterator[Target]:
    """Yields each process of a service, by its name in `fanout status`."""
    for kind, addresses in (("api", stack.addresses.apis), ("worker", stack.addresses.workers)):
        for service, url in addresses.items():
            yield Target(f"{service}-{kind}", url.removeprefix("http://"), service)


def paced(interval: str, settings: str) -> str:
    """Returns a configuration, or rules, with one interval for everything."""
    return re.sub(
        r"^( *(?:(?:scrape|evaluation)_)?(?:interval|timeout)): \w+",
        rf"\1: {interval}",
        settings,
        flags=re.MULTILINE,
    )


@contextmanager
def running(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@dataclass(frozen=True)
class Query:
    """PromQL, and the labels that its results must have."""

    expression: str
    labels: frozenset[str] = frozenset()
    source: str = ""


async def unanswered(prometheus: Prometheus, queries: Sequence[Query]) -> list[Query]:
    """Returns the queries without a number, or whose results lack a label."""
    found = await asyncio.gather(*(prometheus.query(each.expression) for each in queries))
    return [
        query
        for query, series in zip(queries, found, strict=True)
        if not any(query.labels <= labels.keys() for labels in series)
    ]


def queries_of_rules() -> list[Query]:
    """Returns what each rule asks for: of an alert every operand, with a number whether its condition holds or not."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    recorded = [Query(rule["expr"], source=rule["record"]) for rule in rules if "record" in rule]
    return [*recorded, *(query for rule in rules if "alert" in rule for query in of_alert(rule))]


def of_alert(rule: Mapping[str, Any]) -> Iterator[Query]:
    """The first operand has the labels that the alert's summary names."""
    labels = frozenset(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    for operand in operands(rule["expr"]):
        yield Query(operand, labels, rule["alert"])
        labels = frozenset()


def operands(expression: str) -> list[str]:
    """Splits a condition at `and`, `or` and `unless`, and lets each comparison return 0 or 1."""
    expression = expression.strip()
    if expression.startswith("absent("):
        expression = expression.removeprefix("absent")
    if expression[0] == "(" and closing(expression, 0) == len(expression) - 1:
        return operands(expression[1:-1])
    for at, text in outside_brackets(expression):
        if word := re.match(r"\s(and|or|unless)\s+(on\s*\(\w+\)\s*)?", text):
            return [*operands(expression[:at]), *operands(expression[at + word.end() :])]
    for at, text in outside_brackets(expression):
        if sign := re.match(r"(==|!=|>=|<=|>|<)", text):
            return [f"{expression[: at + sign.end()]} bool{expression[at + sign.end() :]}"]
    return [expression]


def outside_brackets(text: str) -> Iterator[tuple[int, str]]:
    """Yields each position that is in no brackets, and what begins there."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            yield at, text[at:]


def closing(text: str, opening: int) -> int:
    """Returns the position of the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if depth == 0:
            return at
    raise ValueError(f"a bracket is not closed: {text}")
