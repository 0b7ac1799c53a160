"""The real page: fraud is slowed until ConsumerLagHigh fires, and it ends once fraud has caught up."""

import asyncio
from asyncio import sleep
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.support.prometheus import needs_prometheus, watching
from tests.support.slow_fraud import slow_fraud
from tests.support.system import System, until

LAG_SECONDS = 30
PAGE_SECONDS = 90
BATCH_SECONDS = 40
"""A batch takes longer than the lag that is allowed, so what comes meanwhile is late."""
ASSESSED = "SELECT order_id FROM assessments WHERE order_id = ANY($1)"


class Orders:
    """When each order was placed that fraud has not assessed, measured without the exporter."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._placed: dict[str, float] = {}

    async def place(self) -> None:
        at = monotonic()
        self._placed[await self._system.order()] = at

    async def oldest_seconds(self) -> float:
        """Returns the age of the oldest order that is not assessed, 0 if all are."""
        for row in await self._system.query("fraud", ASSESSED, list(self._placed)):
            del self._placed[row["order_id"]]
        return monotonic() - min(self._placed.values()) if self._placed else 0.0

    @asynccontextmanager
    async def placed_all_the_time(self) -> AsyncIterator[None]:
        async def one_after_another() -> None:
            while True:
                await self.place()
                await sleep(0.5)

        placing = asyncio.create_task(one_after_another())
        try:
            yield
        finally:
            placing.cancel()


@needs_prometheus
@pytest.mark.timeout(600)
async def test_slow_fraud_pages_within_90_seconds_and_the_page_ends_within_90_of_catching_up(
    system: System, tmp_path: Path
) -> None:
    orders = Orders(system)

    async def is_late() -> bool:
        return await orders.oldest_seconds() > LAG_SECONDS

    async def has_caught_up() -> bool:
        return await orders.oldest_seconds() == 0

    async with watching(system.stack, tmp_path) as prometheus:

        async def pages() -> list[str]:
            return [
                each["labels"]["group"] for each in (await prometheus.firing()).get("ConsumerLagHigh", [])
            ]

        async def is_over() -> bool:
            return not await pages()

        fraud = system.stack.addresses.databases["fraud"]
        async with orders.placed_all_the_time(), slow_fraud(fraud, BATCH_SECONDS, each="STATEMENT"):
            await until(is_late, LAG_SECONDS + 2 * BATCH_SECONDS)
            late_at = monotonic()
            assert await pages() == []
            assert await until(pages, PAGE_SECONDS) == ["fraud"]
            paged_after = monotonic() - late_at
        await until(has_caught_up, 2 * BATCH_SECONDS)
        caught_up_at = monotonic()
        await until(is_over, PAGE_SECONDS)
        ended_after = monotonic() - caught_up_at
    print(
        f"paged {paged_after:.0f} s after the lag was above 30 s, ended {ended_after:.0f} s after it was gone"
    )
    assert paged_after > 50, "a minute of lag is not yet sustained"
    await system.settled()
