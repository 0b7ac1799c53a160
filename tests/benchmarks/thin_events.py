"""`python -m tests.benchmarks.thin_events`: what OrderPlaced costs its consumers if it carries nothing but an id.

On the running stack (`fanout up`): its Kafka, its Postgres, and an orders API of this benchmark's own on the stack's
database of orders, so that it can be stopped and its CPU be told from everybody else's. The same orders as fat events
(the contract) and as thin ones (order_id, order_version, occurred_at), interleaved, medians of the rounds:

  backlog  all orders at once: events a second, CPU of the consumer and of the owner, lookups, queries at the owner
  paced    orders at a steady rate: from the event in Kafka to the effect in Postgres

and once each:

  stale    orders that are cancelled between the event and the lookup
  outage   the owner is killed under a steady rate and started again

Topics, database and process are removed at the end; the orders stay, as orders of a load do.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from uuid import uuid4

import httpx
import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.engine import make_url

from chassis.database import Database
from chassis.telemetry.logs import configure_logging
from fanout.console import print_json, table
from fanout.load import at_rate, order_body, place_orders, purchases
from fanout.local.stack_directory import current
from fanout.running import Addresses, running
from fanout.tokens import bearer, public_key, signer
from fanout.verify.report import settle
from tests.benchmarks.thin_consumer import TABLE, Form, OrderConsumer, Owner, assigned, value_of
from tests.support.databases import administer
from tests.support.stack import REPOSITORY

FORMS: tuple[Form, ...] = ("fat", "thin")
PARTITIONS = 6
READY_SECONDS = 30
ORDERS = "SELECT * FROM orders WHERE order_id = ANY(:ids)"
LINES = "SELECT * FROM order_lines WHERE order_id = ANY(:ids) ORDER BY order_id, product_id"
SCANS = """
    SELECT sum(seq_scan + idx_scan) FROM pg_stat_user_tables WHERE relname IN ('orders', 'order_lines')
"""


@dataclass
class Backlog:
    events_per_second: float
    consumer_cpu_ms: float
    owner_cpu_ms: float
    lookups: float
    lookup_p50_ms: float
    lookup_p99_ms: float
    """All but the first and the lookups' percentiles are of one event."""


@dataclass
class Paced:
    p50_ms: float
    p99_ms: float
    slowest_ms: float


@dataclass
class Stale:
    """What is stored about orders that were cancelled between event and lookup; `total_cents` of open orders only."""

    orders: int
    wrong_version: int
    stored_as_cancelled: int
    open_total_cents: int


@dataclass
class Outage:
    seconds: float
    most_waiting: int
    failed_lookups: int
    slowest_ms: float
    caught_up_seconds: float
    """From the owner's return until nothing waits."""


class OwnApi:
    """The orders API in a process of its own, on the stack's database."""

    def __init__(self, addresses: Addresses) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = os.environ | {
            "FANOUT_DATABASE_URL": addresses.databases["orders"],
            "FANOUT_HTTP_PORT": str(port),
            "FANOUT_TOKEN_PUBLIC_KEY": public_key(Path(addresses.token_key)),
        }
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = self._launched()
        deadline = time.monotonic() + READY_SECONDS
        async with httpx.AsyncClient(trust_env=False) as http:
            while time.monotonic() < deadline:
                try:
                    if (await http.get(f"{self.url}/products")).is_success:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        raise SystemExit(f"the orders API did not answer within {READY_SECONDS} s: fanout status")

    def _launched(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "chassis", "api", "orders"],
            cwd=REPOSITORY,
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def cpu_seconds(self) -> float:
        assert self._process
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)


@dataclass
class Bench:
    addresses: Addresses
    database: Database
    owner: OwnApi
    orders: Sequence[dict[str, Any]]
    name: str

    @contextmanager
    def topic(self) -> Iterator[str]:
        admin = AdminClient({"bootstrap.servers": self.addresses.kafka})
        name = f"{self.name}-{uuid4().hex[:8]}"
        admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name].result(10)
        try:
            yield name
        finally:
            admin.delete_topics([name])[name].result(10)

    def producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.addresses.kafka, "linger.ms": 1, "log_level": 3})

    @asynccontextmanager
    async def consumer(self, form: Form, topic: str) -> AsyncIterator[OrderConsumer]:
        async with self.database.transaction() as db:
            await db.execute(text("TRUNCATE effects"))
        kafka = await assigned(self.addresses.kafka, topic, PARTITIONS)
        try:
            async with Owner(self.addresses, self.owner.url, timeout=2.0) as owner:
                yield OrderConsumer(form, self.database, kafka, owner)
        finally:
            await kafka.stop()


async def backlog(bench: Bench, form: Form) -> Backlog:
    with bench.topic() as topic:
        producer = bench.producer()
        for order in bench.orders:
            producer.produce(topic, value_of(form, order), order["order_id"])
        assert producer.flush(30) == 0
        async with bench.consumer(form, topic) as consumer:
            began, own, owners = time.perf_counter(), time.process_time(), bench.owner.cpu_seconds
            await consumer.run(len(bench.orders))
            seconds, own = time.perf_counter() - began, time.process_time() - own
            owners = bench.owner.cpu_seconds - owners
    count, lookups = len(bench.orders), consumer.lookup_seconds
    p50, p99 = percentiles(lookups) if lookups else (0.0, 0.0)
    return Backlog(count / seconds, own / count * 1000, owners / count * 1000, len(lookups) / count, p50, p99)


async def paced(bench: Bench, form: Form, orders: Sequence[dict[str, Any]], rate: float) -> Paced:
    with bench.topic() as topic:
        async with bench.consumer(form, topic) as consumer:
            consuming = asyncio.create_task(consumer.run(len(orders)))
            produced_at = await produced(bench, form, topic, orders, rate)
            await consuming
    waits = [consumer.stored_at[order_id] - at for order_id, at in produced_at.items()]
    return Paced(*percentiles(waits), max(waits) * 1000)


async def stale(bench: Bench, orders: Sequence[dict[str, Any]]) -> dict[Form, Stale]:
    """The events are in Kafka before the orders are cancelled; the consumers were away meanwhile."""
    with bench.topic() as fat, bench.topic() as thin:
        topics: dict[Form, str] = {"fat": fat, "thin": thin}
        for form, topic in topics.items():
            await produced(bench, form, topic, orders, rate=1_000)
        async with operator(bench) as http:
            for order in orders:
                (await http.post(f"/orders/{order['order_id']}/cancel")).raise_for_status()
        return {form: await stored_late(bench, form, topic, len(orders)) for form, topic in topics.items()}


def operator(bench: Bench) -> httpx.AsyncClient:
    """Returns a client of the owner's API who may cancel every order."""
    headers = bearer(signer(bench.addresses).operator())
    return httpx.AsyncClient(base_url=bench.owner.url, headers=headers, trust_env=False)


async def stored_late(bench: Bench, form: Form, topic: str, count: int) -> Stale:
    async with bench.consumer(form, topic) as consumer:
        await consumer.run(count)
    async with bench.database.transaction() as db:
        rows = list(await db.execute(text("SELECT status, version, total_cents FROM effects")))
    return Stale(
        orders=len(rows),
        wrong_version=sum(row.version != 1 for row in rows),
        stored_as_cancelled=sum(row.status == "cancelled" for row in rows),
        open_total_cents=sum(row.total_cents for row in rows if row.status != "cancelled"),
    )


async def outage(
    bench: Bench, form: Form, orders: Sequence[dict[str, Any]], rate: float, seconds: float
) -> Outage:
    with bench.topic() as topic:
        async with bench.consumer(form, topic) as consumer:
            consuming = asyncio.create_task(consumer.run(len(orders)))
            producing = asyncio.create_task(produced(bench, form, topic, orders, rate))
            began = time.perf_counter()
            await asyncio.sleep(len(orders) / rate / 4)
            bench.owner.kill()
            down = time.perf_counter()
            await asyncio.sleep(seconds)
            sent = min(len(orders), int((time.perf_counter() - began) * rate))
            waiting = sent - len(consumer.stored_at)
            await bench.owner.start()
            back = time.perf_counter()
            produced_at = await producing
            await consuming
    waits = [consumer.stored_at[order_id] - at for order_id, at in produced_at.items()]
    held = [consumer.stored_at[order_id] for order_id, at in produced_at.items() if at < back]
    return Outage(
        back - down, waiting, consumer.failed_lookups, max(waits) * 1000, max(max(held) - back, 0.0)
    )


async def produced(
    bench: Bench, form: Form, topic: str, orders: Sequence[dict[str, Any]], rate: float
) -> dict[str, float]:
    """Sends the events at this rate; returns when each was sent, by order id."""
    producer = bench.producer()

    async def send(order: dict[str, Any], _: float) -> tuple[str, float]:
        producer.produce(topic, value_of(form, order), order["order_id"])
        producer.poll(0)
        return order["order_id"], time.perf_counter()

    sent = dict(await at_rate(rate, orders, send))
    await asyncio.to_thread(producer.flush, 10)
    return sent


async def queries_of_a_lookup(bench: Bench) -> float:
    """Counts reads of the owner's tables by Postgres's statistics, which idle sessions report after ten seconds."""
    url = make_url(bench.addresses.databases["orders"])
    database, count = Database(url.render_as_string(hide_password=False), pool_size=1), 200

    async def scans() -> int:
        async with database.transaction() as db:
            return int((await db.execute(text(SCANS))).scalar_one())

    async def steady() -> int:
        before, deadline = await scans(), time.monotonic() + 60
        while time.monotonic() < deadline:
            await asyncio.sleep(11)
            if (after := await scans()) == before:
                return after
            before = after
        return before

    try:
        before = await steady()
        async with Owner(bench.addresses, bench.owner.url) as owner:
            for order in bench.orders[:count]:
                assert (await owner.get(f"/orders/{order['order_id']}")).status == 200
        return (await steady() - before) / min(count, len(bench.orders))
    finally:
        await database.close()


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Returns p50 and p99 in milliseconds."""
    parts = quantiles(seconds, n=100)
    return parts[49] * 1000, parts[98] * 1000


@asynccontextmanager
async def prepared(orders: int, rate: float) -> AsyncIterator[Bench]:
    addresses, name = running(), f"thin_{uuid4().hex[:8]}"
    password = current().passwords(["postgres"])["postgres"]
    own = make_url(addresses.databases["orders"])
    server = own.set(username="postgres", password=password, database="postgres")
    owner = OwnApi(addresses)
    await administer(server, f"CREATE DATABASE {name}")
    database = Database(server.set(database=name).render_as_string(hide_password=False))
    try:
        async with database.transaction() as db:
            await db.execute(text(TABLE))
        await owner.start()
        report = await place_orders(addresses, list(islice(purchases(seed=5), orders)), rate, patient=True)
        assert report.complete, report.lines()
        await settle(addresses.databases, 300)
        yield Bench(addresses, database, owner, await events_of(addresses, report.order_ids), name)
    finally:
        owner.kill()
        await database.close()
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


async def events_of(addresses: Addresses, order_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the content of each order's OrderPlaced, read from the database of orders but for the card's token."""
    database = Database(addresses.databases["orders"], pool_size=1)
    try:
        async with database.transaction() as db:
            rows = (await db.execute(text(ORDERS), {"ids": list(order_ids)})).mappings().all()
            lines: dict[str, list[dict[str, Any]]] = {}
            for line in (await db.execute(text(LINES), {"ids": list(order_ids)})).mappings():
                lines.setdefault(line["order_id"], []).append(dict(line))
    finally:
        await database.close()
    return [as_event(dict(row), lines[row["order_id"]]) for row in rows]


def as_event(row: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    is_card = row["payment_method"] == "card"
    return row | {
        "order_version": 1,
        "card_token": "tok_visa" if is_card else None,
        "lines": lines,
        "occurred_at": int(row["placed_at"].timestamp() * 1000),
    }


async def open_orders(bench: Bench, count: int) -> list[dict[str, Any]]:
    """Places orders that wait for an invoice to be paid, so that they can still be cancelled."""
    invoices = islice((each for each in purchases(seed=6) if each.kind == "invoice"), count)
    token_of = signer(bench.addresses).customer
    async with operator(bench) as http:
        answers = [
            await http.post("/orders", json=order_body(each), headers=bearer(token_of(each.customer_id)))
            for each in invoices
        ]
    return await events_of(bench.addresses, [answer.json()["order_id"] for answer in answers])


async def main(given: argparse.Namespace) -> None:
    backlogs: dict[Form, list[Backlog]] = {form: [] for form in FORMS}
    paces: dict[Form, list[Paced]] = {form: [] for form in FORMS}
    async with prepared(given.orders, given.load_rate) as bench:
        sizes = {form: median(len(value_of(form, order)) for order in bench.orders) for form in FORMS}
        for number in range(given.rounds):
            for form in FORMS if number % 2 == 0 else reversed(FORMS):
                backlogs[form].append(await backlog(bench, form))
                paces[form].append(await paced(bench, form, bench.orders[: given.paced], given.rate))
        cancelled = await open_orders(bench, given.stale)
        stales = await stale(bench, cancelled)
        outages = {
            form: await outage(
                bench, form, bench.orders[: given.outage_orders], given.rate, given.outage_seconds
            )
            for form in FORMS
        }
        queries = await queries_of_a_lookup(bench)
    found: dict[Form, dict[str, dict[str, float]]] = {
        form: {
            "backlog": medians(backlogs[form]),
            "paced": medians(paces[form]),
            "stale": asdict(stales[form]),
            "outage": asdict(outages[form]),
        }
        for form in FORMS
    }
    if given.json:
        print_json({"bytes": sizes, "forms": found, "queries_of_a_lookup": queries, "given": vars(given)})
        return
    rows = [
        (
            f"{part} {name}".replace("_", " "),
            *(f"{found[form][part][name]:,.2f}" for form in FORMS),
            ratio(found, part, name),
        )
        for part in ("backlog", "paced", "stale", "outage")
        for name in found["fat"][part]
    ]
    size = (
        "bytes of a value",
        *(f"{sizes[form]:,.0f}" for form in FORMS),
        f"{sizes['thin'] / sizes['fat']:.2f}",
    )
    Console(highlight=False).print(table(("what", ">fat", ">thin", ">thin ÷ fat"), [size, *rows]))
    print(f"reads of the owner's tables for a lookup: {queries:.2f}")


def medians(rounds: Sequence[Backlog] | Sequence[Paced]) -> dict[str, float]:
    each = [asdict(one) for one in rounds]
    return {name: median(one[name] for one in each) for name in each[0]}


def ratio(found: dict[Form, dict[str, dict[str, float]]], part: str, name: str) -> str:
    fat, thin = found["fat"][part][name], found["thin"][part][name]
    return f"{thin / fat:.2f}" if fat else "-"


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.thin_events", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--load-rate", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--paced", type=int, default=200, help="Orders of a paced round.")
    parser.add_argument("--rate", type=float, default=50, help="Events a second, paced and in the outage.")
    parser.add_argument("--stale", type=int, default=20)
    parser.add_argument("--outage-orders", type=int, default=600)
    parser.add_argument("--outage-seconds", type=float, default=5)
    parser.add_argument("--json", action="store_true")
    configure_logging("benchmark", "benchmark", "WARNING")
    # The first reads of a new topic fail until its leaders are known, and are repeated.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    asyncio.run(main(parser.parse_args()))
