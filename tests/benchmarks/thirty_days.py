"""`python -m tests.benchmarks.thirty_days`: how large each table becomes, counted in pages, on a Postgres of its own.

Simulates 45 days with a few orders each: the real APIs and handlers write the rows, without Kafka in between, and each
day ends with the purges of all services, whose cutoffs are the beginnings of the days 10, 30 and 40 days before. Sizes
after 30 days are multiplied up to 100,000 orders a day. Prints the figures of docs/retention.md.

Of ten orders seven are paid by card, one by invoice, one card is declined, one order is cancelled. Messages are parked
in a database beside the others; half of them are redriven, half discarded.
"""

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, advance
from chassis.consumer.parking import Failed, mark_parked, park
from chassis.database import Database
from chassis.errors import PermanentFailure
from chassis.migrations import migrate
from chassis.retention import PARKED, REPETITIONS, purge
from chassis.service import load
from chassis.telemetry.logs import configure_logging
from chassis.timestamps import now
from fanout.local.temporary_postgres import PASSWORD, temporary_postgres, until_ready
from fanout.tokens import bearer
from services.dead_letters import actions
from services.dead_letters.actions import Reason, Span
from services.dead_letters.search import Filter
from services.orders.api import app
from tests.support.databases import administer, named_url
from tests.support.dead_letter_service import parked, store
from tests.support.order_bodies import ORDER
from tests.support.principals import SIGNER, client_of
from tests.support.recording_service import confirmed
from tests.support.simulated_system import SERVICES, SimulatedSystem, create, drop, event_of, simulated_at

ORDERS_A_DAY = 100_000
AT_ONCE = asyncio.Semaphore(10)
"""More requests would be refused, as those of a flood are."""
PARKED_A_DAY = 100
RECEIPT_DAYS, CLOSED_DAYS = 10, 30
MEASURED = (30, 45)
DAYS = MEASURED[1] - MEASURED[0]
PARKING = "one consumer"
"""The name of the database in which messages are parked."""
OF_MESSAGES = {
    ("dead_letters", "dead_letters"),
    ("dead_letters", "actions"),
    (PARKING, "parked"),
    (PARKING, "inbox"),
}
CONSTANT = {
    "consumer_offsets",
    "crash_markers",
    "held_partitions",
    "ignored_events",
    "purges",
    "relay_terms",
} | {
    *("subscriptions", "topic_ids", "products", "stock"),
}

TABLES = """
    SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname NOT LIKE '%_version' ORDER BY relname
"""
SEND = """
    UPDATE outbox SET published_at = clock_timestamp(), kafka_partition = id % 6, kafka_offset = id
    WHERE published_at IS NULL
"""
LEASE = "UPDATE messages SET next_try_at = clock_timestamp() WHERE sent_at IS NULL"
DELIVER = "UPDATE messages SET sent_at = clock_timestamp(), attempts = 1 WHERE sent_at IS NULL"
UNSENT = text("""
    SELECT id, event_id, type, payload FROM outbox WHERE published_at IS NULL AND aggregate_id IS NOT NULL ORDER BY id
""")


class Size(NamedTuple):
    rows: int
    bytes: int


Sizes = dict[tuple[str, str], Size]


async def main(orders: int) -> None:
    with temporary_postgres() as ports:
        await until_ready(ports)
        server = make_url(f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{ports.postgres}/postgres")
        async with system(server) as simulated:
            sizes = await live(simulated, orders)
    print(f"{MEASURED[1]} days with {orders} orders and {messages_of(orders)} parked messages each\n")
    for line in report(sizes, orders):
        print(line)


@asynccontextmanager
async def system(server: URL) -> AsyncIterator[SimulatedSystem]:
    names = await create(server, f"days_{os.getpid()}")
    names |= {PARKING: f"days_{os.getpid()}_parking"}
    await administer(server, f"CREATE DATABASE {names[PARKING]}")
    await migrate(load("fraud"), named_url(server, names[PARKING]))
    simulated = simulated_at(server, names)
    app.state.database = simulated.databases["orders"]
    yield simulated
    await simulated.close()
    await drop(server, names.values())


async def live(simulated: SimulatedSystem, orders: int) -> dict[int, Sizes]:
    begins: list[datetime] = []
    sizes = {}
    for day in range(1, MEASURED[1] + 1):
        begins.append(now())
        await one_day(simulated, orders)
        for service, database in simulated.databases.items():
            for days, retentions in (
                (RECEIPT_DAYS, REPETITIONS),
                (CLOSED_DAYS, load("fraud" if service == PARKING else service).retention),
                (CLOSED_DAYS + RECEIPT_DAYS, PARKED),
            ):
                if day > days:
                    await purge(database, begins[day - days], asyncio.Event(), retentions)
            await maintain(database, "VACUUM")
        if day in MEASURED:
            sizes[day] = await measure(simulated.databases)
        await asyncio.sleep(
            0.002
        )  # so that no id of this day has the millisecond in which the next one begins
    return sizes


async def one_day(simulated: SimulatedSystem, orders: int) -> None:
    kinds = [n % 10 for n in range(orders)]
    placed = await asyncio.gather(*(place(kind) for kind in kinds))
    for order_id in (order_id for kind, order_id in zip(kinds, placed, strict=True) if kind == 9):
        await simulated.cancel(order_id)
    await deliver(simulated)
    for order_id in (order_id for kind, order_id in zip(kinds, placed, strict=True) if kind == 7):
        await simulated.pay(order_id)
    await deliver(simulated)
    await park_some(simulated, messages_of(orders))
    await run(simulated.databases.values(), SEND)
    await run([simulated.databases["notifications"]], LEASE, DELIVER)


async def place(kind: int) -> str:
    body = ORDER if kind not in (7, 8) else ORDER | {"card_token": "tok_declined"}
    if kind == 7:
        body = {name: value for name, value in ORDER.items() if name != "card_token"} | {
            "payment_method": "invoice"
        }
    headers = bearer(SIGNER.customer(f"customer-{uuid4()}")) | {"Idempotency-Key": str(uuid4())}
    async with AT_ONCE, client_of(app, headers) as client:
        answer = await client.post("/orders", json=body)
        while answer.status_code == 503:
            await asyncio.sleep(0.1)
            answer = await client.post("/orders", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["order_id"])


async def deliver(simulated: SimulatedSystem) -> None:
    """Hands events over in batches until no service has anything more to say."""
    while sum([await collect(simulated, service) for service in SERVICES]):
        pass


async def collect(simulated: SimulatedSystem, service: str) -> int:
    async with simulated.databases[service].transaction() as db:
        rows = list(await db.execute(UNSENT))
    events = [(row.event_id, event_of(row)) for row in rows]
    await run([simulated.databases[service]], SEND)
    for listener in map(load, SERVICES):
        handled = [each for each in events if type(each[1]) in listener.handlers]
        for event_type, group in groupby(handled, lambda each: type(each[1])):
            batch = list(group)
            async with simulated.databases[listener.name].transaction() as db:
                await claim(db, listener.name, [(event_id, 0) for event_id, _ in batch])
                await listener.handlers[event_type]([event for _, event in batch], db)
                counts = BatchCounts(received=len(batch), applied=len(batch))
                await advance(db, listener.name, event_type.TOPIC, 0, 0, counts)
    return len(events)


async def park_some(simulated: SimulatedSystem, messages: int) -> None:
    records = [confirmed(str(uuid4()), n + int(now().timestamp() * 1000)) for n in range(messages)]
    async with simulated.databases[PARKING].transaction() as db:
        await park(db, "fraud", [Failed(record, PermanentFailure("it cannot be")) for record in records])
        await mark_parked(db, "fraud", [(record.event_id, 0) for record in records if record.event_id])
    await store(simulated.databases["dead_letters"], *(parked(record, record.offset) for record in records))
    why, half = Reason("grace", "the bug is fixed"), messages // 2
    async with simulated.databases["dead_letters"].transaction() as db:
        await actions.redrive_page(db, Filter(), Span(0, half), why)
        await actions.discard_page(db, Filter(), Span(0, messages - half), why)
    async with simulated.databases[PARKING].transaction() as db:
        await claim(db, "fraud", [(record.event_id, 1) for record in records[:half] if record.event_id])


def messages_of(orders: int) -> int:
    return max(2, orders // 50)


async def run(databases: Iterable[Database], *statements: str) -> None:
    for database in databases:
        async with database.transaction() as db:
            for statement in statements:
                await db.execute(text(statement))


async def maintain(database: Database, statement: str) -> None:
    async with database.engine.connect() as db:
        await (await db.execution_options(isolation_level="AUTOCOMMIT")).execute(text(statement))


async def measure(databases: Mapping[str, Database]) -> Sizes:
    sizes: Sizes = {}
    for service, database in databases.items():
        async with database.transaction() as db:
            for name, size in list(await db.execute(text(TABLES))):
                rows = await db.scalar(text(f"SELECT count(*) FROM {name}"))
                sizes[service, name] = Size(int(rows or 0), size)
    return sizes


def report(sizes: Mapping[int, Sizes], orders: int) -> Iterable[str]:
    yield f"{'after 30 days':38} {'rows':>12} {'MB':>7}"
    total = 0.0
    for (service, table), size in sizes[MEASURED[0]].items():
        key, later = (service, table), sizes[MEASURED[1]][service, table]
        if (
            not later.rows
            or table in CONSTANT
            or (key not in OF_MESSAGES and (service == PARKING or table == "parked"))
        ):
            continue
        if key in {("dead_letters", "inbox"), ("dead_letters", "outbox")}:
            continue  # as those of one consumer
        factor = PARKED_A_DAY / messages_of(orders) if key in OF_MESSAGES else ORDERS_A_DAY / orders
        total += size.bytes * factor
        more_rows = (later.rows - size.rows) * factor / DAYS
        more_mb = (later.bytes - size.bytes) * factor / DAYS / 2**20
        grows = later.rows > 1.1 * size.rows
        then = f"{more_rows:+,.0f} rows and {more_mb:+.0f} MB a day" if grows else "steady"
        yield f"{service + '.' + table:38} {size.rows * factor:12,.0f} {size.bytes * factor / 2**20:7,.0f}, {then}"
    yield f"together {total / 2**30:.1f} GB"


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.thirty_days", description=__doc__)
    parser.add_argument("--orders", type=int, default=100, help="orders a day that are simulated")
    configure_logging("benchmark", "benchmark", "ERROR")
    asyncio.run(main(parser.parse_args().orders))
