"""The whole system against Postgres alone: the same rows of all services, written in batches by unnest.

The rows are those that the system just wrote for real orders: whatever tables and columns services have, they are
read back and written again into empty databases, 500 orders a transaction, all databases at once. What the system
also does (updates, Kafka, decoding, mail) is left out: it is the bound, not a rival.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.row import Figures, Row
from tests.benchmarks.whole.scratch import scratch

BATCH = 500
RATE, ORDERS = 1_000, 5_000

# Tables that refer to others come last. What Postgres numbers itself is left to it here, too.
COLUMNS = """
    SELECT relname AS table, array_agg(attname::text ORDER BY attnum) AS names,
        array_agg(format_type(atttypid, atttypmod) ORDER BY attnum) AS types
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND attnum > 0 AND NOT attisdropped AND attidentity = '' AND attgenerated = ''
    GROUP BY pg_class.oid, relname
    ORDER BY EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'f'), relname
"""
BELONGS = {
    "order_id": "order_id",
    "aggregate_id": "aggregate_id",
    "event_id": "event_id",
    "key": "created_at",
}
"""By a column that a table has: the column that says whether a row belongs to the newest orders."""


@dataclass(frozen=True)
class Rows:
    table: str
    names: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[object]]

    @property
    def insert(self) -> str:
        given = ", ".join(f"${n}::{_sent_as(type)}[]" for n, type in enumerate(self.types, 1))
        taken = ", ".join(
            f"{_quoted(name)}::{type}" for name, type in zip(self.names, self.types, strict=True)
        )
        names = ", ".join(map(_quoted, self.names))
        return f"INSERT INTO {_quoted(self.table)} ({names}) SELECT {taken} FROM unnest({given}) AS given ({names})"


async def whole_order(ground: Ground) -> Figures:
    first, began = first_id(), datetime.now(UTC)
    offered = await ground.post(RATE, ground.scaled(ORDERS))
    system = offered.accepted / (await ground.settled(first, offered.accepted) - offered.began)
    await ground.mailed()
    written: dict[str, list[Rows]] = {}
    for service in ground.addresses.databases:
        async with ground.connect(service, superuser=True) as db:
            written[service] = [rows for rows in await read(db, first, began) if rows.rows]
    rows = sum(len(table.rows) for tables in written.values() for table in tables) / offered.accepted
    raw = offered.accepted / await write(ground, written, offered.accepted)
    return {"system": system, "raw": raw, "rows": rows, "ratio": system / raw}


async def read(db: asyncpg.Connection, first: str, began: datetime) -> list[Rows]:
    return [
        Rows(table["table"], table["names"], table["types"], rows)
        for table in await db.fetch(COLUMNS)
        if (rows := await _newest(db, table, first, began))
    ]


async def _newest(
    db: asyncpg.Connection, table: asyncpg.Record, first: str, began: datetime
) -> Sequence[Sequence[object]]:
    types = dict(zip(table["names"], table["types"], strict=True))
    by = next((since for column, since in BELONGS.items() if column in types and since in types), None)
    if by is None:
        return []
    taken = ", ".join(f"{_quoted(name)}::{_sent_as(type)}" for name, type in types.items())
    since = began if by == "created_at" else first
    cast = "timestamptz" if by == "created_at" else f"text::{types[by]}"
    return list(
        await db.fetch(
            f"SELECT {taken} FROM {_quoted(table['table'])} WHERE {by} >= $1::{cast} ORDER BY {by}", since
        )
    )


async def write(ground: Ground, written: dict[str, list[Rows]], orders: int) -> float:
    """Seconds."""
    batches = max(round(orders / BATCH), 1)
    async with AsyncExitStack() as stack:
        connections = {}
        for service, tables in written.items():
            if tables:
                url = await stack.enter_async_context(scratch(ground.addresses, service))
                connections[service] = await asyncpg.connect(url)
                stack.push_async_callback(connections[service].close)
        began = time.perf_counter()
        await asyncio.gather(*(_write(db, written[service], batches) for service, db in connections.items()))
        return time.perf_counter() - began


async def _write(db: asyncpg.Connection, tables: Sequence[Rows], batches: int) -> None:
    for number in range(batches):
        async with db.transaction():
            for table in tables:
                count = len(table.rows)
                slice = table.rows[count * number // batches : count * (number + 1) // batches]
                await db.execute(table.insert, *map(list, zip(*slice, strict=True)))


def _sent_as(type: str) -> str:
    """An array among the columns travels as text: unnest would take it apart."""
    return "text" if type.endswith("[]") else type


def _quoted(name: str) -> str:
    return f'"{name}"'


ROWS = [
    Row(
        "rows",
        "whole order ÷ the same rows of all services written by raw batched SQL",
        "print it; aim ≥ 0.3",
        "{ratio:.2f} ({system:.0f} ÷ {raw:.0f} orders/s, {rows:.0f} rows an order)",
        whole_order,
    )
]
