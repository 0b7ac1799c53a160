"""Makes fraud slow, for real: its table is, whoever writes to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy.engine import make_url

BEGIN = """
    CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$;
    CREATE OR REPLACE TRIGGER dawdles BEFORE INSERT ON assessments FOR EACH {each} EXECUTE FUNCTION dawdle();
"""
END = "DROP TRIGGER IF EXISTS dawdles ON assessments; DROP FUNCTION IF EXISTS dawdle()"


@asynccontextmanager
async def slow_fraud(url: str, seconds: int = 1, each: str = "ROW") -> AsyncIterator[None]:
    """Takes a second for each order; `each` may be STATEMENT, which is a batch."""
    dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    await _run(dsn, BEGIN.format(seconds=seconds, each=each))
    try:
        yield
    finally:
        await _run(dsn, END)


async def _run(dsn: str, statements: str) -> None:
    patient = {"lock_timeout": "60s", "statement_timeout": "60s"}
    connection = await asyncpg.connect(dsn, server_settings=patient)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()
