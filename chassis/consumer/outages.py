"""An outage never parks anything and never counts as a try: wait, probe, carry on, however long it takes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from chassis import liveness, telemetry
from chassis.errors import FailureClass, classify

FIRST_PAUSE_SECONDS = 0.1
HOLD_SECONDS = 1.0

T = TypeVar("T")

log = structlog.get_logger()


class Stopped(Exception):
    """The lane was asked to stop while it waited; nothing was decided about the records."""


def is_outage(error: Exception) -> bool:
    return classify(error) is FailureClass.INFRASTRUCTURE


async def through_outages(
    work: Callable[[], Awaitable[T]],
    stop: asyncio.Event,
    consumer: str,
    waits_for: Callable[[Exception], bool] = is_outage,
) -> T:
    """Does the work again until it fails for another reason than `waits_for`, or not at all.

    Pauses vary by half: two transactions that deadlock with each other must not meet again.
    """
    seconds = FIRST_PAUSE_SECONDS
    while True:
        liveness.beat()
        try:
            return await work()
        except Exception as error:
            if not waits_for(error):
                raise
            log.warning("holding", error=short(error), next_try_seconds=round(seconds, 1))
        with telemetry.HOLDING.labels(consumer).track_inprogress():
            await pause(random.uniform(seconds / 2, seconds), stop)
        seconds = min(seconds * 2, HOLD_SECONDS)


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Raises Stopped when told to stop meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
    raise Stopped


def short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
