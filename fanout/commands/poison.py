"""`fanout poison`: a bug makes inventory publish one truncated message; orders parks it as a dead letter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import asyncpg
from fastavro import schemaless_reader
from sqlalchemy.engine import make_url

from fanout.console import print_json, say
from fanout.errors import FanoutError, Unreachable
from fanout.load import place_orders, purchases
from fanout.running import Addresses, in_container, running
from fanout.truncation import ARM, CHANNEL, DISARM, SERVICE
from schemas import StockReserved
from schemas.files import parsed_schema

TRUNCATION_SECONDS = 30


def command() -> None:
    """Truncate one message of inventory, as a producer with a bug would: orders parks it, and one order waits.

    Prints the whole message on standard output: it is the correction.

    Example: fanout poison > whole.json && fanout dlq ls
    """
    whole = asyncio.run(poison(running()))
    print_json(whole)
    say(f"order {whole['order_id']} waits for a StockReserved that was truncated: fanout dlq ls")


async def poison(addresses: Addresses) -> dict[str, Any]:
    """Places an order and returns the message that was truncated: its own, or one of an order placed just then."""
    one_mug = next(purchase for purchase in purchases(seed=2) if purchase.kind == "card")
    async with _truncation(addresses.databases[SERVICE]) as whole:
        placed = await place_orders(addresses, [one_mug], rate=1, patient=True)
        if not placed.complete:
            raise FanoutError(f"no order could be placed to poison: {'; '.join(placed.lines())}")
        try:
            return await asyncio.wait_for(whole, TRUNCATION_SECONDS)
        except TimeoutError:
            raise FanoutError(
                f"inventory reserved nothing for {TRUNCATION_SECONDS} s, so nothing was truncated: fanout status"
            ) from None


@asynccontextmanager
async def _truncation(inventory_url: str) -> AsyncIterator[asyncio.Future[dict[str, Any]]]:
    """Truncates the next StockReserved that inventory writes to its outbox; the future is the whole message.

    In a container the operator may call the two functions of `fanout.truncation`, and alter nothing himself.
    """
    arm, disarm = (
        ("SELECT arm_truncation()", "SELECT disarm_truncation()") if in_container() else (ARM, DISARM)
    )
    place = make_url(inventory_url).set(drivername="postgresql")
    try:
        db = await asyncpg.connect(
            place.render_as_string(hide_password=False), timeout=5, server_settings=TIMEOUTS
        )
    except OSError as error:
        raise Unreachable("the database of inventory", f"{place.host}:{place.port}") from error
    whole: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def receive(_: object, __: int, ___: str, payload: object) -> None:
        if not whole.done():
            schema = parsed_schema(StockReserved)
            record: Any = schemaless_reader(BytesIO(bytes.fromhex(str(payload))), schema, None)
            whole.set_result(dict(record))

    await db.add_listener(CHANNEL, receive)
    try:
        await db.execute(arm)
        yield whole
    finally:
        await db.execute(disarm)
        await db.close()


TIMEOUTS = {"lock_timeout": "60s", "statement_timeout": "60s"}
