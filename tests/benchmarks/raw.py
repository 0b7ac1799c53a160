"""The same rows with nothing around them: what Postgres alone would allow."""

import time

import asyncpg

from services.notifications.domain import placed
from tests.benchmarks.workbench import SERVICE, Workbench

BATCH = 500

CLAIM = "INSERT INTO inbox (consumer, event_id, status) SELECT $1, unnest($2::uuid[]), 'applied' ON CONFLICT DO NOTHING"
WRITE = """
    INSERT INTO messages (order_id, customer_id, kind, body, created_at)
    SELECT o, c, 'order_placed', b, t
    FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS m (o, c, b, t)
"""


async def raw_sql(bench: Workbench) -> float:
    """Events per second."""
    await bench.forget_effects()
    dsn = bench.url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn)
    rows = [
        (
            event_id,
            event.order_id,
            event.customer_id,
            placed(event.order_id, event.total_cents, "EUR"),
            event.time,
        )
        for event_id, event in bench.events
    ]
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        ids, *columns = map(list, zip(*rows[start : start + BATCH], strict=True))
        async with connection.transaction():
            await connection.execute(CLAIM, SERVICE, ids)
            await connection.execute(WRITE, *columns)
    seconds = time.perf_counter() - began
    await connection.close()
    return len(rows) / seconds
