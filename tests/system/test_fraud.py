"""Orders of one customer that come by all partitions at once, when fraud was away."""

import asyncio
from uuid import uuid4

from services.fraud.domain import MANY_ORDERS
from tests.support.system import System

ORDERS = 12


async def test_the_first_five_orders_of_a_customer_pass_and_all_others_are_flagged(system: System) -> None:
    customer = f"customer-{uuid4().hex[:8]}"
    await system.fanout("stop", "fraud-worker")
    try:
        placed = await asyncio.gather(*(system.order(customer_id=customer) for _ in range(ORDERS)))
    finally:
        await system.fanout("start", "fraud-worker")
    await system.settled()
    shown = [await system.show(order_id) for order_id in placed]
    assert sum(order["flagged"] for order in shown) == ORDERS - MANY_ORDERS
