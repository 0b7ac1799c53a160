"""`fanout poison`: an order whose reservation orders cannot read, for you to find and mend."""

import asyncio
import json
from typing import Any

from fanout.console import say
from fanout.errors import FanoutError
from fanout.load.customers import place_orders
from fanout.load.mix import purchases
from fanout.poison.cut import cut_in_half
from fanout.running import Addresses, running

CUT_SECONDS = 30


def command() -> None:
    """Cut one message of inventory in half, as a producer with a bug would: orders parks it, and one order waits.

    The message as it should have been goes to standard output; that is what mends it.

    Example: fanout poison > whole.json && fanout dlq ls
    """
    whole = asyncio.run(poison(running()))
    print(json.dumps(whole, indent=2))
    say(f"order {whole['order_id']} waits for a StockReserved that was cut in half: fanout dlq ls")


async def poison(addresses: Addresses) -> dict[str, Any]:
    """The message that was cut, as it should have been. It is an order of our own, unless others order just now."""
    one_mug = next(purchase for purchase in purchases(seed=2) if purchase.kind == "card")
    async with cut_in_half(addresses.databases["inventory"]) as whole:
        placed = await place_orders(addresses.apis, [one_mug], rate=1, patient=True)
        if not placed.complete:
            raise FanoutError(f"no order could be placed to poison: {'; '.join(placed.lines())}")
        try:
            return await asyncio.wait_for(whole, CUT_SECONDS)
        except TimeoutError:
            raise FanoutError(
                f"inventory has reserved nothing for {CUT_SECONDS} s, so nothing was cut: fanout status"
            ) from None
