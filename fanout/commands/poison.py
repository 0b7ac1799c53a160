"""`fanout poison`: a bug makes inventory publish one truncated message; orders parks it as a dead letter."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from time import monotonic
from typing import Any

import asyncpg
from fastavro import schemaless_reader
from sqlalchemy.engine import make_url

from fanout.console import Tell, console, print_json, progress, say
from fanout.errors import FanoutError, Unreachable
from fanout.load import place_orders, purchases
from fanout.local.stopped import KAFKA, require_started
from fanout.running import Addresses, in_container, running
from fanout.truncation import ARM, CHANNEL, DISARM, SERVICE
from schemas import StockReserved
from schemas.files import parsed_schema

TRUNCATION_SECONDS = 30
LOOK_SECONDS = 1.0
USUAL_SECONDS = 5.0
"""So long nothing is said: scripts compare what it prints."""
NEEDED = (KAFKA, "orders-api", "orders-worker", f"{SERVICE}-worker")
"""The processes between an order and the reservation of its stock."""


def command() -> None:
    """Truncate one message of inventory, as a producer with a bug would: orders parks it, and one order waits.

    Prints the whole message on standard output: it is the correction.

    Example: fanout poison > whole.json && fanout dlq ls
    """
    addresses = running()
    with progress(console) as tell:
        whole = asyncio.run(poison(addresses, tell))
    print_json(whole)
    say(f"order {whole['order_id']} waits for a StockReserved that was truncated: fanout dlq ls")


async def poison(addresses: Addresses, tell: Tell) -> dict[str, Any]:
    """Places an order and returns the message that was truncated: its own, or one of an order placed just then.

    Raises Stopped, before anything is placed, if what has to run for it was stopped.
    """
    require_started(*NEEDED)
    one_mug = next(purchase for purchase in purchases(seed=2) if purchase.kind == "card")
    async with _truncation(addresses.databases[SERVICE]) as whole:
        placed = await place_orders(addresses, [one_mug], rate=1, patient=True)
        if not placed.complete:
            raise FanoutError(f"no order could be placed to poison: {'; '.join(placed.lines())}")
        return await _reserved(whole, tell)


async def _reserved(whole: asyncio.Future[dict[str, Any]], tell: Tell) -> dict[str, Any]:
    """Waits for the message. Raises Stopped, or FanoutError after TRUNCATION_SECONDS."""
    began = monotonic()
    while (waited := monotonic() - began) < TRUNCATION_SECONDS:
        if waited >= USUAL_SECONDS:
            tell(f"an order is placed; waiting until inventory reserves its stock, for {waited:.0f} s")
        if (await asyncio.wait({whole}, timeout=LOOK_SECONDS))[0]:
            return whole.result()
        require_started(*NEEDED)
    raise FanoutError(
        f"inventory reserved nothing for {TRUNCATION_SECONDS} s, so nothing was truncated: fanout status"
    )


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
