"""`python -m tests.benchmarks.purges`: how long retention takes for many rows, and whether the last range takes longer.

Fills tables with the rows of 60 days on a Postgres of its own and purges what is older than docs/retention.md says.
"""

import argparse
import asyncio
import time
from collections import Counter
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.engine import make_url

from chassis.database import Database
from chassis.migrations import migrate
from chassis.purging import Retention, delete
from chassis.retention import REPETITIONS
from chassis.service import load
from chassis.telemetry.logs import configure_logging
from chassis.timestamps import now
from chassis.worker import NO_SEQUENTIAL_SCANS
from fanout.local.temporary_postgres import PASSWORD, temporary_postgres, until_ready
from tests.support.databases import administer, named_url

SERIES = """
    (SELECT n, at, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid AS id
    FROM generate_series(1, {rows}) AS n,
        LATERAL (SELECT now() - interval '60 days' * (1 - n::float8 / {rows}) AS at) AS times) AS made
"""
FILL = {
    "fraud": (
        f"INSERT INTO inbox SELECT 'fraud', id, 'applied', 0, at FROM {SERIES}",
        f"""
        INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, key, payload, headers, created_at,
            published_at)
        SELECT id, 'fraud', 'FraudAssessed', id, 1, id::text::bytea, repeat('p', 80)::bytea, repeat('h', 330), at, at
        FROM {SERIES}
        """,
        f"INSERT INTO orders_seen SELECT id, 'customer-' || n % 50000, at FROM {SERIES}",
        "INSERT INTO assessments SELECT order_id, 0, false, '{{}}' FROM orders_seen",
        "INSERT INTO customers SELECT DISTINCT customer_id FROM orders_seen",
    ),
    "analytics": (
        f"INSERT INTO steps SELECT id, step, at FROM {SERIES}, "
        "unnest(ARRAY['placed', 'paid', 'confirmed', 'shipped']) AS step",
        "INSERT INTO sales SELECT order_id, at, 'EUR', 100 FROM steps WHERE step = 'confirmed'",
        "INSERT INTO order_lines SELECT order_id, 'mug', 1, 100 FROM sales",
    ),
    "notifications": (
        "INSERT INTO messages (order_id, customer_id, kind, body, created_at, sent_at) "
        f"SELECT id, 'c', 'order_placed', repeat('b', 60), at, at FROM {SERIES}",
    ),
}


async def main(rows: int) -> None:
    with temporary_postgres() as ports:
        await until_ready(ports)
        server = make_url(f"postgresql+asyncpg://postgres:{PASSWORD}@127.0.0.1:{ports.postgres}/postgres")
        for service, statements in FILL.items():
            await administer(server, f"CREATE DATABASE purges_{service}")
            url = named_url(server, f"purges_{service}")
            await migrate(load(service), url)
            database = Database(url, settings=NO_SEQUENTIAL_SCANS)
            for statement in statements:
                async with database.transaction() as db:
                    await db.execute(text(statement.format(rows=rows).replace(":", r"\:")))
            for retentions, days in ((REPETITIONS, 10), (load(service).retention, 30)):
                for retention in retentions:
                    await measure(database, retention, days)
            await database.close()


async def measure(database: Database, retention: Retention, days: int) -> None:
    """Prints how many rows went in which time, and the means of the first and of the last tenth of the ranges."""
    cutoff, purged, seconds, began = (
        now() - timedelta(days=days),
        Counter[str](),
        list[float](),
        time.perf_counter(),
    )
    async for deleted in delete(database, retention, cutoff, cutoff, asyncio.Event()):
        purged.update(deleted)
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    if purged:
        tenth = max(1, len(seconds) // 10)
        first, last = (sum(part) / tenth * 1000 for part in (seconds[:tenth], seconds[-tenth:]))
        tables = ", ".join(f"{table} {count:,}" for table, count in purged.items())
        print(
            f"{tables}: {sum(seconds):.1f} s, a range {first:.0f} ms at first, {last:.0f} ms at last",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.purges", description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    configure_logging("benchmark", "benchmark", "ERROR")
    asyncio.run(main(parser.parse_args().rows))
