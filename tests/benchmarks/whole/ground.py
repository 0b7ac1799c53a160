"""The running stack as the rows see it: orders go in, and effects are counted in tables, as cheaply as can be.

An order counts as settled when all its effects are there: what `fanout verify` would say, at the price of a few
counts over the newest ids. The ledger confirms it afterwards.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy.engine import make_url
from uuid_utils.compat import uuid7

from fanout.load import PLENTIFUL
from fanout.local.stack_directory import current
from fanout.running import Addresses
from fanout.verify.report import settle
from tests.benchmarks.whole.open_loop import Offered, offer

LOOK_EVERY = 0.25
SETTLE_SECONDS = 600.0
LEDGER_SECONDS = 900.0
ENOUGH_STOCK = 500_000

EFFECTS = {
    "fulfillment": ("SELECT count(*) FROM shipments WHERE shipped_at IS NOT NULL AND order_id >= $1", 1),
    "orders": (
        "SELECT count(*) FROM orders WHERE shipped_at IS NOT NULL AND fraud_score IS NOT NULL AND order_id >= $1",
        1,
    ),
    "analytics": ("SELECT count(*) FROM steps WHERE order_id >= $1", 4),
    "notifications": ("SELECT count(*) FROM messages WHERE order_id >= $1", 3),
    "payments": ("SELECT count(*) FROM movements WHERE order_id >= $1", 1),
    "inventory": ("SELECT count(*) FROM reservation_lines WHERE order_id >= $1", 1),
    "fraud": ("SELECT count(*) FROM assessments WHERE order_id >= $1", 1),
}
"""By service: rows that an order of one line, paid by card, has there in the end, and how many."""
UNSENT = "SELECT EXISTS (SELECT FROM messages WHERE sent_at IS NULL AND refused_at IS NULL)"
TOP_UP = """
    UPDATE stock SET initial = initial + 1000000, on_hand = on_hand + 1000000
    WHERE product_id = ANY($1) AND on_hand < $2
"""

PATIENT = {
    "idle_in_transaction_session_timeout": "0",
    "statement_timeout": "0",
    "application_name": "benchmark",
}


@dataclass(frozen=True)
class Ground:
    """`scale` shortens runs: with 0.1 a row places a tenth of its orders. `note` prints a line of progress."""

    addresses: Addresses
    note: Callable[[str], None]
    scale: float = 1.0

    def scaled(self, count: int) -> int:
        return max(round(count * self.scale), 20)

    async def post(self, rate: float, count: int, connections: int = 200, grace: float = 120) -> Offered:
        offered = await offer(self.addresses, rate, count, connections, grace)
        self.note(f"{rate:g}/s over {connections} connections: {offered}")
        return offered

    async def settled(self, first_id: str, orders: int, every: float = LOOK_EVERY) -> float:
        """Waits until `orders` orders since `first_id` have all their effects; the moment, of `time.time`."""
        for service, (count, each) in EFFECTS.items():
            await self.counted(service, count, first_id, orders * each, every)
        return time.time()

    async def shipped(self, first_id: str, orders: int) -> float:
        await self.counted("fulfillment", EFFECTS["fulfillment"][0], first_id, orders, 0.05)
        return time.time()

    async def counted(self, service: str, count: str, first_id: str, wanted: int, every: float) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        async with self.connect(service) as db:
            while (found := await db.fetchval(count, first_id)) < wanted:
                assert time.monotonic() < deadline, f"{service} has only {found} of {wanted} effects"
                await asyncio.sleep(every)

    async def mailed(self) -> None:
        async with self.connect("notifications") as db:
            while await db.fetchval(UNSENT):
                await asyncio.sleep(LOOK_EVERY)

    async def ledger(self) -> tuple[int, int]:
        """Lost and doubled, once nothing is on the way."""
        report = await settle(self.addresses.databases, LEDGER_SECONDS)
        self.note(f"ledger: {report.conclusion}")
        assert report.settled, report.conclusion
        return report.lost, report.applied_twice

    async def top_up_stock(self) -> None:
        """Raises what is on hand and what there was at the beginning alike, so that the ledger's check holds."""
        async with self.connect("inventory") as db:
            await db.execute(TOP_UP, list(PLENTIFUL), ENOUGH_STOCK)

    @asynccontextmanager
    async def connect(self, service: str, superuser: bool = False) -> AsyncIterator[asyncpg.Connection]:
        url = make_url(self.addresses.databases[service]).set(drivername="postgresql")
        if superuser:
            url = url.set(username="postgres", password=current().passwords(["postgres"])["postgres"])
        connection = await asyncpg.connect(
            url.render_as_string(hide_password=False), timeout=5, server_settings=PATIENT
        )
        try:
            yield connection
        finally:
            await connection.close()


def first_id() -> str:
    """Less than the id of any order or event that is made from now on."""
    return str(uuid7())
