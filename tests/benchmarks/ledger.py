"""`python -m tests.benchmarks.ledger`: how long `fanout verify` takes for millions of events, and how much memory.

A real order is placed, delivered and shipped in a Postgres of its own. Then Postgres multiplies it: its events with new
ids, times and offsets, its receipts, and its rows in every service. Five receipts for each event: some consumers
subscribe to more types than they really do. Prints seconds and peak memory; nothing is asked of them.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from time import monotonic

import asyncpg
from rich.console import Console
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.service import load
from fanout.console import print_json, say, table
from fanout.local import temporary_postgres
from fanout.verify.invariants import discover
from fanout.verify.report import audit
from tests.support.databases import named_url
from tests.support.simulated_system import SERVICES, SimulatedSystem, create, simulated_at

PARTITIONS = 6
FIRST_OFFSET = 1_000
EVENTS_PER_ORDER = 6
SPAN_SECONDS = 3_600
MORE = {
    "fraud": (
        "orders.OrderConfirmed",
        "payments.PaymentProcessed",
        "inventory.StockReserved",
        "fraud.FraudAssessed",
        "shipments.OrderShipped",
    ),
    "fulfillment": (
        "payments.PaymentProcessed",
        "inventory.StockReserved",
        "fraud.FraudAssessed",
        "shipments.OrderShipped",
    ),
    "notifications": ("orders.OrderConfirmed", "inventory.StockReserved", "fraud.FraudAssessed"),
    "analytics": ("inventory.StockReserved", "fraud.FraudAssessed"),
    "payments": ("orders.OrderConfirmed",),
}
"""What consumers are made to subscribe to beside what they really do."""


@dataclass(frozen=True)
class Sample:
    """One event of the real order, with its place among the order's events and among those of its topic."""

    service: str
    topic: str
    type: str
    version: int
    schema_version: int
    payload: bytes
    headers: str
    event_id: str
    number: int
    place: int
    of_topic: int


@dataclass(frozen=True)
class Measured:
    events: int
    receipts: int
    seconds: float
    megabytes: float
    conclusion: str
    steps: Sequence[tuple[float, str]]


def main(events: int, as_json: bool, checks: bool) -> None:
    with temporary_postgres.temporary_postgres() as ports:
        asyncio.run(temporary_postgres.until_ready(ports))
        password = temporary_postgres.PASSWORD
        server = make_url(f"postgresql+asyncpg://postgres:{password}@127.0.0.1:{ports.postgres}/postgres")
        names = asyncio.run(create(server, "bench"))
        began = monotonic()
        orders = max(events // EVENTS_PER_ORDER, 1)
        asyncio.run(fill(simulated_at(server, names), orders))
        say(f"made {orders} orders in {monotonic() - began:.0f} s")
        urls = {service: named_url(server, name) for service, name in names.items()}
        with backend_memory(server) as backends:
            measured = measure_apart(urls, checks)
    peak = max(backends.values(), default=0) / 1024
    if as_json:
        print_json(asdict(measured) | {"postgres_backend_megabytes": peak})
        return
    Console().print(
        table(
            [">events", ">receipts", ">seconds", ">MB (VmHWM)", ">MB of the largest Postgres backend"],
            [
                [
                    measured.events,
                    measured.receipts,
                    f"{measured.seconds:.1f}",
                    f"{measured.megabytes:.0f}",
                    f"{peak:.0f}",
                ]
            ],
        )
    )
    for step, times in groupby(measured.steps, key=lambda step: step[1].partition(":")[0]):
        print(f"{next(times)[0]:6.1f} s  {step}")
    print(measured.conclusion)


async def fill(simulated: SimulatedSystem, orders: int) -> None:
    """Places one order, and multiplies it."""
    order_id = await simulated.order()
    await simulated.deliver()
    samples = await samples_of(simulated, order_id)
    async with asyncio.TaskGroup() as group:
        for service in SERVICES:
            group.create_task(multiply(simulated.databases[service], service, order_id, samples, orders))
    await simulated.close()


async def samples_of(simulated: SimulatedSystem, order_id: str) -> list[Sample]:
    columns = "topic, type, aggregate_version, schema_version, payload, headers, event_id::text, created_at"
    found = [
        (service, *row)
        for service in SERVICES
        for row in await simulated.run(
            service, f"SELECT {columns} FROM outbox WHERE aggregate_id = '{order_id}'"
        )
    ]
    found.sort(key=lambda row: row[-1])
    per_topic, seen = Counter(row[1] for row in found), Counter[str]()
    samples = []
    for number, row in enumerate(found):
        place = number, seen[row[1]], per_topic[row[1]]
        samples.append(Sample(*(*row[:-1], *place)))
        seen[row[1]] += 1
    return samples


async def multiply(
    database: Database, service: str, order_id: str, samples: Sequence[Sample], orders: int
) -> None:
    wanted = {f"{each.TOPIC}.{each.NAME}" for each in load(service).handlers} | set(MORE.get(service, ()))
    async with database.transaction() as db:
        await db.execute(text("SET LOCAL synchronous_commit = off"))
        await db.execute(text(_FUNCTIONS))
        for sample in samples:
            if sample.service == service:
                await _multiply_event(db, order_id, sample, orders)
        received = [sample for sample in samples if f"{sample.topic}.{sample.type}" in wanted]
        await _receive(db, service, received, orders)
        for sample in received:
            if f"{sample.topic}.{sample.type}" in MORE.get(service, ()):
                await db.execute(
                    text(_RECEIVE_REAL), {"service": service, "id": sample.event_id, "topic": sample.topic}
                )
        for each in load(service).metadata.sorted_tables:
            if "order_id" in each.columns:
                copied = [
                    column.name
                    for column in each.columns
                    if column.identity is None and column.name != "order_id"
                ]
                names = ", ".join(f'"{name}"' for name in copied)
                await db.execute(
                    text(
                        f"INSERT INTO {each.name} (order_id, {names}) SELECT bench_order(n), {names} FROM {each.name}, "
                        "generate_series(1, :orders) AS n WHERE order_id = :order_id"
                    ),
                    {"orders": orders, "order_id": order_id},
                )
        if service == "inventory":
            await db.execute(text(_STOCK), {"order_id": order_id})
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))


async def _multiply_event(db: AsyncConnection, order_id: str, sample: Sample, orders: int) -> None:
    before, after = sample.payload.split(order_id.encode())
    headers = sample.headers.replace(order_id, "{order}").replace(sample.event_id, "{event}")
    values = {
        "orders": orders,
        "number": sample.number,
        "topic": sample.topic,
        "type": sample.type,
        "version": sample.version,
        "schema_version": sample.schema_version,
        "headers": headers,
        "before": before,
        "after": after,
        "place": sample.place,
        "of_topic": sample.of_topic,
        "partitions": PARTITIONS,
        "first": FIRST_OFFSET,
        "step": SPAN_SECONDS / orders,
        "delay": delay_of(orders),
    }
    await db.execute(text(_EVENTS), values)


async def _receive(db: AsyncConnection, service: str, received: Sequence[Sample], orders: int) -> None:
    if not received:
        return
    numbers = [sample.number for sample in received]
    values = {
        "service": service,
        "orders": orders,
        "numbers": numbers,
        "step": SPAN_SECONDS / orders,
        "delay": delay_of(orders),
    }
    await db.execute(text(_RECEIPTS), values)
    for topic, number in Counter(sample.topic for sample in received).items():
        of_topic = next(sample.of_topic for sample in received if sample.topic == topic)
        values = {"service": service, "topic": topic, "types": number, "of_topic": of_topic, "orders": orders}
        await db.execute(text(_OFFSETS), values | {"partitions": PARTITIONS, "first": FIRST_OFFSET})
    subscriptions = [(service, sample.type, sample.topic) for sample in received]
    for row in subscriptions:
        await db.execute(text(_SUBSCRIBE), dict(zip(("consumer", "type", "topic"), row, strict=True)))


def delay_of(orders: int) -> float:
    """Returns seconds between two events of an order, so that it has all before the next one of its partition."""
    return 0.9 * SPAN_SECONDS / orders * PARTITIONS / EVENTS_PER_ORDER


def measure_apart(urls: Mapping[str, str], checks: bool) -> Measured:
    """Measures in a process of its own, of which the operating system knows the peak of memory."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.ledger",
        "--measure",
        *(["--checks"] if checks else []),
    ]
    done = subprocess.run(command, input=json.dumps(dict(urls)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Measured(**json.loads(done.stdout))


def measure(checks: bool) -> None:
    urls = json.load(sys.stdin)
    began, steps = monotonic(), list[tuple[float, str]]()
    queries = [query for query in discover() if checks or query.kind != "check"]
    report = asyncio.run(audit(urls, queries, lambda step: steps.append((monotonic() - began, step))))
    seconds = monotonic() - began
    applied = sum(account.applied for account in report.accounts)
    events = asyncio.run(rows_of("outbox", urls))
    status = Path("/proc/self/status").read_text().splitlines()
    [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    print(json.dumps(asdict(Measured(events, applied, seconds, peak / 1024, report.conclusion, steps))))


async def rows_of(name: str, urls: Mapping[str, str]) -> int:
    rows = 0
    for url in urls.values():
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        rows += await connection.fetchval(f"SELECT count(*) FROM {name}")
        await connection.close()
    return rows


@contextmanager
def backend_memory(server: URL) -> Iterator[dict[int, int]]:
    """Yields the peak of each Postgres backend in kB, shared buffers included, which it looks up twice a second."""
    peaks: dict[int, int] = {}
    stop = threading.Event()

    async def watch() -> None:
        url = server.render_as_string(hide_password=False).replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        while not stop.is_set():
            for row in await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
            ):
                try:
                    status = Path(f"/proc/{row['pid']}/status").read_text()
                except OSError:
                    continue
                peaks[row["pid"]] = int(status.split("VmHWM:")[1].split()[0])
            await asyncio.to_thread(stop.wait, 0.5)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(watch()))
    thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        thread.join()


# The ids of order n and of its events follow from n, so that every database makes the same ones.
_FUNCTIONS = r"""
    DO $do$ BEGIN
    CREATE FUNCTION bench_id(at double precision, seed text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
        'SELECT (lpad(to_hex((at * 1000)\:\:bigint), 12, ''0'') || ''7'' || substr(md5(seed), 1, 3) || ''8''
            || substr(md5(seed), 4, 15))\:\:uuid';
    CREATE FUNCTION bench_event_at(n int, number int, step double precision, delay double precision)
        RETURNS double precision LANGUAGE sql IMMUTABLE AS 'SELECT 1790000000 + n * step + number * delay';
    CREATE FUNCTION bench_order(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
        'SELECT bench_id(bench_event_at(n, 0, 0.01, 0), ''order '' || n)\:\:text';
    END $do$
"""
_EVENTS = """
    INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, key, payload, schema_version, headers,
        created_at, published_at, kafka_partition, kafka_offset)
    SELECT event_id, :topic, :type, order_id, :version, convert_to(order_id, 'UTF8'),
        CAST(:before AS bytea) || convert_to(order_id, 'UTF8') || CAST(:after AS bytea), :schema_version,
        replace(replace(:headers, '{order}', order_id), '{event}', event_id::text),
        to_timestamp(at), to_timestamp(at + 0.005), n % :partitions, :first + (n / :partitions) * :of_topic + :place
    FROM (
        SELECT n, bench_order(n) AS order_id, at, bench_id(at, n || ' ' || CAST(:number AS int)) AS event_id
        FROM generate_series(1, :orders) AS n, bench_event_at(n, :number, :step, :delay) AS at
    ) AS made
"""
_RECEIPTS = """
    INSERT INTO inbox (consumer, event_id, status, received_at)
    SELECT :service, bench_id(at, n || ' ' || number), 'applied', to_timestamp(at + 0.02)
    FROM generate_series(1, :orders) AS n, unnest(CAST(:numbers AS int[])) AS number,
        bench_event_at(n, number, :step, :delay) AS at
"""
_OFFSETS = """
    INSERT INTO consumer_offsets AS sofar
        (consumer, topic, partition, next_offset, received, applied, duplicates, parked)
    SELECT :service, :topic, n % :partitions, max(:first + (n / :partitions) * :of_topic + :of_topic),
        count(*) * :types, count(*) * :types, 0, 0
    FROM generate_series(1, :orders) AS n GROUP BY n % :partitions
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET next_offset = excluded.next_offset,
        received = sofar.received + excluded.received, applied = sofar.applied + excluded.applied
"""
_RECEIVE_REAL = """
    WITH received AS (INSERT INTO inbox (consumer, event_id, status) VALUES (:service, CAST(:id AS uuid), 'applied'))
    UPDATE consumer_offsets SET applied = applied + 1, received = received + 1
    WHERE consumer = :service AND topic = :topic AND partition = 0
"""
_SUBSCRIBE = """
    INSERT INTO subscriptions (consumer, type, topic) VALUES (:consumer, :type, :topic) ON CONFLICT DO NOTHING
"""
_STOCK = """
    UPDATE stock SET initial = on_hand + coalesce((
        SELECT sum(quantity) FROM reservation_lines AS line JOIN reservations USING (order_id)
        WHERE line.product_id = stock.product_id AND status = 'reserved'
    ), 0) WHERE product_id IN (SELECT product_id FROM reservation_lines WHERE order_id = :order_id)
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--checks", action="store_true", help="also run the services' own checks")
    parser.add_argument("--json", action="store_true", dest="as_json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.checks)
    else:
        main(given.events, given.as_json, given.checks)
