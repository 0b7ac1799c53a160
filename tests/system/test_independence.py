"""Nobody waits for fraud: while it is dead, or takes a second for each order, orders are paid, confirmed, shipped."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.support.slow_fraud import slow_fraud
from tests.support.system import System, until

ASSESSED = "SELECT 1 FROM assessments WHERE order_id = ANY($1)"
ORDERS = 40


@asynccontextmanager
async def dead(system: System) -> AsyncIterator[None]:
    await system.fanout("stop", "fraud-worker")
    try:
        yield
    finally:
        await system.fanout("start", "fraud-worker")


def slow(system: System) -> AbstractAsyncContextManager[None]:
    return slow_fraud(system.stack.addresses.databases["fraud"])


@pytest.mark.parametrize("ill", [dead, slow])
async def test_orders_are_shipped_while_fraud_is_ill_and_all_of_them_are_assessed_in_the_end(
    system: System, ill: Callable[[System], AbstractAsyncContextManager[None]]
) -> None:
    async with ill(system):
        order_ids = [await system.order() for _ in range(ORDERS)]
        for order_id in order_ids:
            await system.until_status(order_id, "shipped")
        assert len(await system.query("fraud", ASSESSED, order_ids)) < ORDERS / 2

    async def all_assessed() -> bool:
        return len(await system.query("fraud", ASSESSED, order_ids)) == ORDERS

    await until(all_assessed, 60)
    await system.settled()
