"""Measures the events a second and the CPU that tracing costs a consumer: `python -m tests.benchmarks.tracing`.

Each mode consumes the same waiting events on the running stack (`fanout up`), in a process of its own; the modes take
turns, and the figures are medians of the rounds. Spans go to an endpoint of this program, which keeps them undecoded:

  nothing   every call of the tracing is replaced by nothing
  off       the code as it is, and no endpoint set
  batches   an endpoint, and FANOUT_TRACE_EVENTS=batch: spans of batches with links, none of events
  tenth     an endpoint, a tenth of the events sampled, each of those with a span of its own
  all       an endpoint, and every event sampled with a span of its own

CPU is that of the consumer's process until everything is exported, exporting included.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from statistics import median
from time import process_time
from unittest.mock import patch

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.console import Console
from sqlalchemy.engine import make_url
from uuid_utils.compat import uuid7

from chassis.__main__ import COLLECTION_THRESHOLD
from chassis.consumer import spans
from chassis.database import Database
from chassis.events.registry import Registry
from chassis.service import load
from chassis.telemetry import traces
from chassis.telemetry.logs import configure_logging
from fanout.console import table
from fanout.running import running
from tests.benchmarks.workbench import SERVICE, Workbench, order_placed, prepared, sampled
from tests.support.otlp_receiver import otlp_endpoint
from tests.support.stack import REPOSITORY

NOTHING = "nothing"
FLUSH_SECONDS = 30.0
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
BATCHES = {"FANOUT_TRACE_EVENTS": "batch"}
EACH = {"FANOUT_TRACE_EVENTS": "each"}


@dataclass(frozen=True)
class Mode:
    """`asked` is the share of the throughput without tracing that it shall keep; 0 asks nothing."""

    description: str
    sampled_one_in: int
    environment: dict[str, str] | None
    asked: float = 0.0


MODES = {
    NOTHING: Mode("no tracing at all", 1, None),
    "off": Mode("no endpoint set", 1, None, 0.98),
    "batches": Mode("spans of batches, with links", 1, BATCHES, 0.85),
    "tenth": Mode("10 % sampled, with spans of their own", 10, EACH, 0.85),
    "all": Mode("all sampled, with spans of their own", 1, EACH),
}


@dataclass(frozen=True)
class Round:
    """`exported` counts the spans that arrived; the SDK drops what its queue cannot hold."""

    per_second: float
    cpu_seconds: float
    exported: int


@dataclass
class Sink:
    """Keeps what was exported as it came, so that decoding it does not compete with the consumer."""

    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> int:
        """Returns how many spans came since it was asked last."""
        taken, self.bodies = self.bodies, []
        return sum(
            len(scope.spans)
            for body in taken
            for group in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in group.scope_spans
        )


async def main(events: int, rounds: int) -> dict[str, list[Round]]:
    """Returns the rounds of each mode."""
    found: dict[str, list[Round]] = {name: [] for name in MODES}
    sink = Sink()
    async with (
        prepared(events, sampled(one_in=1)) as every,
        prepared(events, sampled(one_in=10)) as tenth,
    ):
        with otlp_endpoint(lambda body: sink.bodies.append(body)) as endpoint:
            for number in range(rounds):
                names = list(MODES)
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    bench = every if MODES[name].sampled_one_in == 1 else tenth
                    await bench.forget_effects()
                    consumed = await asyncio.to_thread(consumed_apart, bench, name, endpoint)
                    found[name].append(Round(*consumed, sink.spans()))
                line = ", ".join(f"{name} {of[-1].per_second:,.0f}/s" for name, of in found.items())
                print(f"round {number + 1}: {line}", file=sys.stderr, flush=True)
    return found


def consumed_apart(bench: Workbench, mode: str, endpoint: str) -> tuple[float, float]:
    """Runs `consume` in a process of its own; returns events per second and CPU seconds."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "FANOUT_TRACE"))
    }
    settings = MODES[mode].environment
    tracing = {} if settings is None else {ENDPOINT: endpoint, **settings}
    url = bench.url.render_as_string(hide_password=False)
    arguments = [mode, url, bench.topic, len(bench.events)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.tracing", "--one", json.dumps(arguments)],
        cwd=REPOSITORY,
        env=environment | tracing,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
    )
    per_second, cpu_seconds = json.loads(done.stdout.splitlines()[-1])
    return per_second, cpu_seconds


async def consume(mode: str, url: str, topic: str, events: int) -> tuple[float, float]:
    """Consumes the topic once with the chassis, and exports the spans."""
    service, addresses = load(SERVICE), running()
    database, registry = Database(url), Registry(addresses.registry_url)
    any_event = (uuid7(), order_placed(0))
    bench = Workbench(addresses, service, database, registry, make_url(url), topic, [any_event] * events)
    traces.configure(SERVICE, "worker", "", bench.settings.trace_events == "each")
    gc.freeze()  # as a worker does
    gc.set_threshold(COLLECTION_THRESHOLD)
    with without_tracing() if mode == NOTHING else nullcontext():
        began = process_time()
        per_second = await bench.consume_with_the_chassis()
        await traces.shutdown(FLUSH_SECONDS)
    cpu_seconds = process_time() - began
    await registry.aclose()
    await database.close()
    return per_second, cpu_seconds


@contextmanager
def without_tracing() -> Iterator[None]:
    """Replaces what the consumer calls for its traces by nothing."""
    with patch.multiple(
        spans,
        spans_of_batch=lambda *_: nullcontext(_nothing),
        parents_of=_nothing,
        settled=_nothing,
        parked=_nothing,
        failed=_nothing,
        exemplar=_nothing,
        is_recording=_nothing,
        log_fields=lambda record: record.log_fields,
    ):
        yield


def _nothing(*_: object) -> None:
    return None


def print_table(found: Mapping[str, Sequence[Round]], events: int) -> None:
    """Prints medians, and the share of the throughput and of the CPU of each round's run without tracing."""
    rows = []
    for name, mode in MODES.items():
        kept = median(
            mine.per_second / plain.per_second
            for mine, plain in zip(found[name], found[NOTHING], strict=True)
        )
        cpu = median(
            mine.cpu_seconds / plain.cpu_seconds
            for mine, plain in zip(found[name], found[NOTHING], strict=True)
        )
        rows.append(
            (
                mode.description,
                f"{median(each.per_second for each in found[name]):,.0f}",
                f"{kept:.2f}",
                f"≥ {mode.asked}" if mode.asked else "",
                f"{median(each.cpu_seconds for each in found[name]) / events * 1e6:.0f}",
                f"{cpu:.2f}",
                f"{median(each.exported for each in found[name]):,.0f}",
            )
        )
    heads = ("mode", ">events/s", ">kept", ">asked", ">µs CPU an event", ">CPU ratio", ">spans")
    Console(highlight=False, width=110).print(table(heads, rows))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.tracing", description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--one", metavar="JSON", help="One mode, in this process; used by the benchmark itself."
    )
    return parser.parse_args()


if __name__ == "__main__":
    given = _parse()
    configure_logging("benchmark", "benchmark", "WARNING")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if given.one:
        print(json.dumps(asyncio.run(consume(*json.loads(given.one)))))
    else:
        print_table(asyncio.run(main(given.events, given.rounds)), given.events)
