"""Every filter that an API offers has an index: with 200,000 rows nothing is scanned, and few rows are read in vain."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from sqlalchemy import event, text

from chassis.database import Database, driver
from services.analytics.api import app as analytics
from services.dead_letters.api import app as dead_letters
from services.orders.api import app as orders
from services.payments.api import app as payments
from tests.integration.conftest import NewDatabase
from tests.support.principals import OPERATOR, client_of

ROWS = 200_000
IN_VAIN = 20_000
ID = """
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
    || '8' || substr(md5(n::text), 4, 15))::uuid::text
"""
SERIES = f"""
    (SELECT n, at, {ID} AS id FROM generate_series(1, {ROWS}) AS n,
    LATERAL (SELECT now() - interval '60 days' * (1 - n / {ROWS}::float8) AS at) AS times) AS made
"""
FILL = {
    "orders": [
        f"""
        INSERT INTO orders (order_id, customer_id, currency, total_cents, payment_method, status, version, payment,
            payment_version, stock, stock_version, flagged, placed_at)
        SELECT id, 'c-' || n % 5000, 'EUR', 100, 'card',
            CASE WHEN n = 7 THEN 'placed' WHEN n % 500 = 0 THEN 'confirmed' WHEN n % 3 = 0 THEN 'cancelled'
                ELSE 'shipped' END, 2, 'authorized', 1, 'reserved', 1, CASE WHEN n > 1000 THEN n % 2000 = 0 END, at
        FROM {SERIES}
        """,
        "INSERT INTO order_lines SELECT order_id, 'mug', 1, 100 FROM orders",
    ],
    "payments": [
        f"""
        INSERT INTO payments
            (order_id, payment_id, customer_id, status, changed_at, payment_method, amount_cents, currency)
        SELECT id, gen_random_uuid()::text, 'ada', 'authorized', at, 'card', 100, 'EUR' FROM {SERIES}
        """
    ],
    "analytics": [
        f"INSERT INTO steps SELECT id, step, at FROM {SERIES}, unnest(ARRAY['placed', 'paid', 'confirmed']) AS step",
        "INSERT INTO sales SELECT order_id, at, 'EUR', 100 FROM steps WHERE step = 'confirmed'",
        "INSERT INTO order_lines SELECT order_id, 'mug', 1, 100 FROM sales",
    ],
    "dead_letters": [
        f"""
        INSERT INTO dead_letters (consumer, topic, partition, kafka_offset, record_at, headers, failure, error_type,
            error_message, attempts, first_failed_at, last_failed_at, status, redrive)
        SELECT CASE WHEN n % 1000 = 0 THEN 'fraud' ELSE 'orders' END,
            CASE WHEN n % 1000 = 1 THEN 'shipments' ELSE 'orders' END, 0, n, at, '[]',
            CASE WHEN n % 1000 = 2 THEN 'transient' ELSE 'permanent' END,
            CASE WHEN n % 1000 = 3 THEN 'Rare' ELSE 'Bug' END, '', 1, at, at,
            CASE WHEN n % 1000 = 4 THEN 'parked' WHEN n % 1000 = 5 THEN 'discarded' ELSE 'redriven' END, 1
        FROM {SERIES}
        """
    ],
}
APPS: Mapping[str, FastAPI] = {
    "orders": orders,
    "payments": payments,
    "analytics": analytics,
    "dead_letters": dead_letters,
}
QUERIES = {
    "orders": [
        "/orders",
        "/orders?flagged=true",
        "/orders?flagged=false",
        *(f"/orders?status={status}" for status in ("placed", "confirmed", "cancelled", "shipped")),
        "/orders?status=placed&flagged=true",
        "/orders?status=shipped&flagged=false",
        "/orders?before={middle}",
        "/orders?before={middle}&status=confirmed",
        "/orders?before={middle}&flagged=true",
    ],
    "payments": [f"/payments/{uuid4()}", "/payments/{middle}"],
    "analytics": ["/sales", "/funnel"],
    "dead_letters": [
        "/dead-letters",
        *(f"/dead-letters?status={status}" for status in ("parked", "redriven", "discarded")),
        *(f"/dead-letters?consumer={name}" for name in ("fraud", "orders", "unknown")),
        *(f"/dead-letters?topic={name}" for name in ("shipments", "orders", "unknown")),
        *(f"/dead-letters?reason={name}" for name in ("permanent", "transient", "Bug", "Rare", "Unknown")),
        "/dead-letters?since={late}",
        "/dead-letters?until={early}",
        "/dead-letters?since={late}&until={later}",
        "/dead-letters?after=150000",
        "/dead-letters?after=150000&reason=Rare",
        "/dead-letters?status=parked&consumer=fraud",
        "/dead-letters?status=parked&since={late}",
    ],
}
OF_CUSTOMERS = {
    "/orders?limit=10",
    *(f"/orders?limit=10&status={status}" for status in ("placed", "shipped")),
    "/orders?limit=10&before={middle}",
}
PLACES = {
    "middle": f"SELECT {ID} FROM (SELECT 1 AS n, now() - interval '30 days' AS at) AS made",
    "late": "SELECT now() - interval '1 hour'",
    "later": "SELECT now() - interval '50 minutes'",
    "early": "SELECT now() - interval '59 days 23 hours'",
}


@pytest.fixture(params=APPS)
async def service(request: pytest.FixtureRequest, new_database: NewDatabase) -> AsyncIterator[str]:
    name: str = request.param
    database = await new_database(name)
    async with database.transaction() as db:
        for statement in FILL[name]:
            await driver(db).execute(statement)
    async with database.engine.connect() as db:
        autocommit = await db.execution_options(isolation_level="AUTOCOMMIT")
        await autocommit.execute(text("VACUUM ANALYZE"))
    APPS[name].state.database = database
    yield name


async def test_no_query_of_an_api_scans_a_table_or_reads_many_rows_in_vain(service: str) -> None:
    database: Database = APPS[service].state.database
    async with database.transaction() as db:
        places = {name: await driver(db).fetchval(sql) for name, sql in PLACES.items()}
    bad = {}
    for query in QUERIES[service] + [*OF_CUSTOMERS] * (service == "orders"):
        for plan in await plans(service, query, places):
            removed = [int(rows) for rows in re.findall(r"Rows Removed by \w+(?: Recheck)?: (\d+)", plan)]
            if "Seq Scan" in plan or sum(removed) > IN_VAIN:
                bad[query] = plan
    assert bad == {}, "\n\n".join(f"{query}\n{plan}" for query, plan in bad.items())


async def plans(service: str, query: str, places: Mapping[str, Any], principal: Any = OPERATOR) -> list[str]:
    """Sends the request, and returns the plans of the statements that it ran, as they were executed."""
    database: Database = APPS[service].state.database
    path, _, parameters = query.partition("?")
    given = dict(pair.split("=") for pair in parameters.split("&") if pair)
    texts = {name: place if isinstance(place, str) else place.isoformat() for name, place in places.items()}
    filled = {name: value.format(**texts) for name, value in given.items()}
    async with client_of(APPS[service], principal) as client:
        with statements_of(database) as ran:
            answer = await client.get(path.format(**places), params=filled)
    assert answer.status_code in (200, 404), answer.text
    assert ran
    async with database.transaction() as db:
        return [
            "\n".join(row[0] for row in await driver(db).fetch(f"EXPLAIN ANALYZE {sql}", *given))
            for sql, given in ran
        ]


@contextmanager
def statements_of(database: Database) -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    ran: list[tuple[str, tuple[Any, ...]]] = []

    def note(_: Any, __: Any, statement: str, parameters: tuple[Any, ...], *___: Any) -> None:
        ran.append((statement, parameters))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield ran
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", note)
