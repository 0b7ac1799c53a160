"""Causes a fault by a process that holds it and undoes it, and undoes it itself if that process is killed."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from fanout.chaos.kinds import Fault
from fanout.errors import FanoutError
from fanout.repository import REPOSITORY


class NotUndone(FanoutError):
    def __init__(self, fault: Fault, why: str) -> None:
        super().__init__(f"{fault} could not be undone: {why}")


@dataclass(slots=True)
class Injected:
    """What became of a fault; `failed` says why it did not begin or broke off."""

    begun: bool = False
    ended: bool = False
    failed: str = ""
    met: dict[str, Any] = field(default_factory=dict)


async def inject(fault: Fault, begun: Callable[[], None], at: float = 0.0) -> Injected:
    """Returns when the fault is over and undone; `begun` is called when it has begun, at the Unix time `at` or later.

    Cancelled, it undoes the fault first. Raises NotUndone if that fails.
    """
    injected = Injected()
    try:
        await _held({"fault": asdict(fault), "at": at, "only_end": False}, fault, injected, begun)
    finally:
        if not injected.ended:  # whoever held it was killed
            only_end = {"fault": asdict(fault), "at": 0.0, "only_end": True}
            await _held(only_end, fault, injected, begun)
    return injected


async def _held(order: dict[str, Any], fault: Fault, injected: Injected, begun: Callable[[], None]) -> None:
    """Starts the process that holds the fault and follows it to its end. Cancelled, it makes it end early."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fanout.chaos.holder"),
        cwd=REPOSITORY,
        env=os.environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(order).encode() + b"\n")
    try:
        await _follow(process.stdout, fault, injected, begun)
    except asyncio.CancelledError:
        process.stdin.close()
        await _follow(process.stdout, fault, injected, begun)
        raise
    finally:
        process.stdin.close()
        await process.wait()


async def _follow(
    lines: asyncio.StreamReader, fault: Fault, injected: Injected, begun: Callable[[], None]
) -> None:
    async for text in lines:
        line = json.loads(text)
        injected.met = line.get("met", injected.met)
        if "not_undone" in line:
            injected.ended = True
            raise NotUndone(fault, line["not_undone"])
        if "begun" in line:
            injected.begun = True
            begun()
        if "failed" in line:
            injected.failed = line["failed"]
        if "ended" in line or line.get("changed") is False:
            injected.ended = True
