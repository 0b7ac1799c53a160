"""What a replay refuses before it touches anything, and what to do instead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fanout.replay.state import ADVISORY_LOCK
from tests.support.stack import Stack
from tests.support.system import System, until
from tests.system.test_replay import replayed, state


def refusal(stack: Stack, *arguments: str) -> str:
    done = stack.fanout("replay", *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    return done.stderr


@asynccontextmanager
async def purge_recorded(system: System, service: str) -> AsyncIterator[None]:
    """As if the inbox had forgotten what is older than this moment."""
    await system.query(service, "INSERT INTO purges VALUES ('inbox', clock_timestamp(), 0)")
    try:
        yield
    finally:
        await system.query(service, "DELETE FROM purges WHERE what = 'inbox'")


async def test_a_second_replay_of_the_same_service_is_refused(system: System) -> None:
    async with system.connect("analytics") as elsewhere:
        await elsewhere.execute(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
        said = await asyncio.to_thread(refusal, system.stack, "analytics")
        assert "another replay of analytics is running" in said
    await replayed(system, "analytics")


async def test_a_replay_beyond_what_the_inbox_covers_is_refused_with_what_to_do(system: System) -> None:
    await system.order()
    await system.settled()
    async with purge_recorded(system, "inventory"):
        held = await state(system, "inventory")
        for arguments in (["inventory"], ["inventory", "--from", "1h"]):
            said = await asyncio.to_thread(refusal, system.stack, *arguments)
            assert "has deleted its receipts from before" in said
        advised = said.split("--from ")[1].split()[0]

        async def is_past() -> bool:
            [[past]] = await system.query("orders", f"SELECT clock_timestamp() > '{advised}'")
            return bool(past)

        await until(is_past)
        await replayed(system, "inventory", "--from", advised)
        assert await state(system, "inventory") == held


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody"], "no service nobody; there are analytics, "),
        (["analytics", "--from", "yesterday"], "is no time"),
        (["analytics", "--from", "2026-03-01T12:00:00"], "lacks its zone"),
        (["analytics", "--from", "2999-01-01T00:00:00Z"], "is in the future"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    stack: Stack, arguments: list[str], sentence: str
) -> None:
    assert sentence in " ".join(refusal(stack, *arguments).replace("│", " ").split())
