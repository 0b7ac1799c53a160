"""Every command of docs/runbooks, in a stack that has the trouble which the page is about; afterwards all is well."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from tests.support import troubles
from tests.support.pages import does_what_it_shows, steps_of
from tests.support.stack import REPOSITORY
from tests.support.system import System


@asynccontextmanager
async def observed(system: System) -> AsyncIterator[None]:
    """The exporter runs."""
    await system.fanout("up", "--observe")
    try:
        yield
    finally:
        await system.fanout("up", "--no-observe")


CAUSES: dict[str, Callable[[System], AbstractAsyncContextManager[None]]] = {
    "api-down.md": troubles.nothing,
    "api-errors-high.md": partial(troubles.stopped, process="postgres", orders=0),
    "api-slow.md": troubles.nothing,
    "consumer-lag-high.md": troubles.a_slow_consumer,
    "consumer-losing-data.md": troubles.lost_events,
    "consumer-stopped.md": troubles.nothing,
    "dead-letters-appearing.md": troubles.nothing,
    "exporter-down.md": observed,
    "exporter-source-down.md": troubles.nothing,
    "orders-slo-burn.md": partial(troubles.stopped, process="payments-worker"),
    "outbox-old.md": partial(troubles.stopped, process="orders-worker"),
    "outbox-rows-set-aside.md": troubles.a_row_that_cannot_be_sent,
    "retention-margin.md": partial(troubles.stopped, process="fraud-worker"),
    "partition-held.md": troubles.a_held_partition,  # the last: what was deleted for it is lost
}
"""By page. A page whose cause is nothing causes its trouble itself."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", CAUSES)
async def test_a_runbook_ends_the_trouble_which_it_is_about(
    page: str, system: System, tmp_path: Path
) -> None:
    orders_api = system.stack.addresses.apis["orders"].removeprefix("http://")
    steps = [
        replace(step, command=step.command.replace("localhost:8001", orders_api))
        for step in steps_of(REPOSITORY / "docs/runbooks" / page)
    ]
    path = f"{REPOSITORY / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    environment = system.stack.environment | {"PATH": path, "COLUMNS": "140"}
    async with CAUSES[page](system):
        await asyncio.to_thread(does_what_it_shows, steps, tmp_path, environment, 300)
    if page != "partition-held.md":
        verdict = await asyncio.to_thread(system.stack.fanout, "verify", "--wait", "60s")
        assert verdict.returncode == 0, verdict.stdout
