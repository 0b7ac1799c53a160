"""A consumer that one order crashes with SIGKILL: `python -m tests.support.crashing_worker ORDER_ID`."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import worker
from chassis.config import Settings
from chassis.service import Service
from chassis.telemetry.logs import configure_logging
from schemas import OrderConfirmed

fragile = Service("fragile", MetaData())


@fragile.on(OrderConfirmed)
async def crash_on(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
    if any(order.order_id == sys.argv[1] for order in orders):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    configure_logging("fragile", "worker", "INFO")
    asyncio.run(worker.run(fragile, Settings()))
