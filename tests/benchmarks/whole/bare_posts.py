"""POST /orders with the workers stopped, against its statements one by one in bare asyncpg on 10 connections."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg

from tests.benchmarks.whole.apart import workers_stopped
from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.open_loop import offer
from tests.benchmarks.whole.row import Figures, Row
from tests.benchmarks.whole.scratch import scratch

CONNECTIONS = 10
CUSTOMERS = 50
"""Each sends the next order when the last one is answered: the API is never without work, and nothing is refused."""
POSTS = 4_000
SECONDS = 5.0
NEVER = 120.0

CLAIM = """
    INSERT INTO idempotency_keys (principal, key, fingerprint) VALUES ('customer:c', $1, $2)
    ON CONFLICT DO NOTHING RETURNING key
"""
PRICES = "SELECT * FROM products WHERE product_id = ANY($1)"
LINE = "INSERT INTO order_lines (order_id, product_id, quantity, unit_price_cents) VALUES ($1, 'mug', 1, 100)"
ANSWER = "UPDATE idempotency_keys SET status = 201, body = $2 WHERE principal = 'customer:c' AND key = $1"


async def against_bare(ground: Ground) -> Figures:
    first = first_id()
    async with workers_stopped():
        posts = await offer(ground.addresses, 0, ground.scaled(POSTS), connections=CUSTOMERS, grace=NEVER)
        ground.note(f"{CUSTOMERS} customers without pause: {posts}")
    await ground.settled(first, posts.accepted)
    await ground.mailed()
    async with ground.connect("orders") as db:
        order = dict(await db.fetchrow("SELECT * FROM orders WHERE order_id >= $1 LIMIT 1", first))
        event = dict(
            await db.fetchrow("SELECT * FROM outbox WHERE aggregate_id = $1 LIMIT 1", order["order_id"])
        )
    async with scratch(ground.addresses, "orders") as url:
        bare = await statement_by_statement(url, order, event, SECONDS * ground.scale)
    return {
        "posts": posts.accepted_per_second,
        "bare": bare,
        "ratio": posts.accepted_per_second / bare,
        "refused": posts.offered - posts.accepted,
    }


async def statement_by_statement(
    url: str, order: dict[str, Any], event: dict[str, Any], seconds: float
) -> float:
    """Transactions a second."""
    order_columns, event_columns = list(order), [name for name in event if name != "id"]
    insert_order, insert_event = insert("orders", order_columns), insert("outbox", event_columns)
    unsent = {"published_at": None, "kafka_partition": None, "kafka_offset": None}
    done, end = 0, time.perf_counter() + seconds

    async def place(db: asyncpg.Connection) -> None:
        order_id, key = str(uuid4()), uuid4().hex
        new_order = {**order, "order_id": order_id}
        new_event = {**event, **unsent, "event_id": uuid4(), "aggregate_id": order_id}
        async with db.transaction():
            await db.fetchval(CLAIM, key, b"x" * 32)
            await db.fetch(PRICES, ["mug"])
            await db.execute(insert_order, *(new_order[name] for name in order_columns))
            await db.execute(LINE, order_id)
            await db.execute(insert_event, *(new_event[name] for name in event_columns))
            await db.execute(ANSWER, key, b"{}" * 150)

    async def place_many(pool: asyncpg.Pool) -> None:
        nonlocal done
        while time.perf_counter() < end:
            async with pool.acquire() as db:
                await place(db)
            done += 1

    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await asyncio.gather(*(place_many(pool) for _ in range(CONNECTIONS)))
    return done / seconds


def insert(table: str, columns: list[str]) -> str:
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"


ROWS = [
    Row(
        "posts",
        "POST /orders alone, workers stopped, ÷ the same statements one by one in bare asyncpg on 10 connections",
        "≥ 0.8",
        "{ratio:.2f} ({posts:.0f} ÷ {bare:.0f}/s; {refused:.0f} not accepted)",
        against_bare,
    )
]
