"""Cuts one message in half: the next StockReserved that inventory writes to its outbox. Then the bug is gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import asyncpg
from fastavro import schemaless_reader
from sqlalchemy.engine import make_url

from fanout.errors import Unreachable
from schemas import StockReserved
from schemas.files import parsed_schema

CHANNEL = "cut_in_half"
# The whole payload is told to whoever listens, in the transaction that cuts it.
ARM = f"""
    DROP SEQUENCE IF EXISTS cuts;
    CREATE SEQUENCE cuts;
    CREATE OR REPLACE FUNCTION {CHANNEL}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('cuts') = 1 THEN
            PERFORM pg_notify('{CHANNEL}', encode(NEW.payload, 'hex'));
            NEW.payload := substring(NEW.payload FROM 1 FOR length(NEW.payload) / 2);
        END IF;
        RETURN NEW;
    END $$;
    CREATE OR REPLACE TRIGGER {CHANNEL} BEFORE INSERT ON outbox
        FOR EACH ROW WHEN (NEW.type = '{StockReserved.NAME}') EXECUTE FUNCTION {CHANNEL}();
"""
DISARM = f"""
    DROP TRIGGER IF EXISTS {CHANNEL} ON outbox;
    DROP FUNCTION IF EXISTS {CHANNEL}();
    DROP SEQUENCE IF EXISTS cuts;
"""
PATIENCE = {"lock_timeout": "60s", "statement_timeout": "60s"}


@asynccontextmanager
async def cut_in_half(inventory_url: str) -> AsyncIterator[asyncio.Future[dict[str, Any]]]:
    """While it lasts, waits for a message to cut; the future is that message as it should have been."""
    place = make_url(inventory_url).set(drivername="postgresql")
    try:
        db = await asyncpg.connect(
            place.render_as_string(hide_password=False), timeout=5, server_settings=PATIENCE
        )
    except OSError as error:
        raise Unreachable("the database of inventory", f"{place.host}:{place.port}") from error
    whole: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def hear(_: object, __: int, ___: str, payload: object) -> None:
        if not whole.done():
            whole.set_result(_decoded(str(payload)))

    await db.add_listener(CHANNEL, hear)
    try:
        await db.execute(ARM)
        yield whole
    finally:
        await db.execute(DISARM)
        await db.close()


def _decoded(payload: str) -> dict[str, Any]:
    record: Any = schemaless_reader(BytesIO(bytes.fromhex(payload)), parsed_schema(StockReserved), None)
    return dict(record)
