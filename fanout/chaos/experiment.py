"""One fault with orders meanwhile, and what became of its hypothesis, as the ledger and the customers say."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from time import monotonic
from typing import Any

from fanout.chaos.inject import Injected, NotUndone, inject
from fanout.chaos.injection import CannotBegin
from fanout.chaos.kinds import Fault, Promise
from fanout.console import Tell, counted
from fanout.errors import FanoutError
from fanout.load import LoadReport, place_orders, purchases
from fanout.running import Addresses
from fanout.verify.report import Report, audit, settle

RATE = 5.0
RECOVERY_SECONDS = 90.0
ANSWER_SECONDS = 1.5
"""The second within which an order is taken or refused, and what a busy machine may add."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """`recovered` is the time from the end of the fault until nothing was in flight, None if that did not come."""

    fault: Fault
    orders: LoadReport
    injected: Injected
    before: Report
    ledger: Report
    recovered: float | None

    @property
    def violations(self) -> list[str]:
        """Returns a sentence for each part of the hypothesis that did not hold; nothing if it held."""
        return [*broken_promise(self.fault.promise, self.orders), *self._of_ledger()]

    def _of_ledger(self) -> Iterator[str]:
        if self.ledger.verdict == "broken" or self.recovered is None:
            yield f"{RECOVERY_SECONDS:.0f} s after it the ledger says: {self.ledger.conclusion}"
        if (more := self.ledger.parked - self.before.parked) > 0:
            yield f"{counted(more, 'message')} more than before {'is' if more == 1 else 'are'} parked: fanout dlq ls"

    @property
    def conclusion(self) -> str:
        if self.violations:
            return f"violated: {'; '.join(self.violations)}"
        return f"held, recovered in {self.recovered:.1f} s"

    def as_json(self) -> dict[str, Any]:
        return {
            "fault": asdict(self.fault),
            "hypothesis": self.fault.hypothesis,
            "held": not self.violations,
            "violations": self.violations,
            "recovered_seconds": None if self.recovered is None else round(self.recovered, 1),
            "orders": self.orders.as_json(),
            "met": self.injected.met,
            "ledger": self.ledger.conclusion,
        }


def broken_promise(promise: Promise, orders: LoadReport) -> Iterator[str]:
    """Yields what became of orders that should not have."""
    count, slowest = len(orders.placements), max((each.seconds for each in orders.placements), default=0.0)
    good = orders.outcomes["ok"] + (orders.outcomes["refused"] if promise == "answered" else 0)
    if promise != "none" and good < count:
        expected = "taken" if promise == "taken" else "taken or refused"
        yield f"{count - good} of {counted(count, 'order')} were not {expected}: {'; '.join(orders.lines()[1:])}"
    if promise != "none" and slowest > ANSWER_SECONDS:
        yield f"an order was answered after {slowest:.1f} s only"


async def experiment(addresses: Addresses, fault: Fault, tell: Tell) -> Experiment:
    """Causes the fault, places orders until it ends, and waits until nothing is in flight.

    Raises CannotBegin if the fault cannot be caused, and FanoutError if the ledger is broken before, or if what was
    broken cannot be undone.
    """
    before = await audit(addresses.databases)
    if before.verdict == "broken":
        raise FanoutError(f"nothing was done, for the ledger says before: {before.conclusion}: fanout verify")
    count = max(round(fault.seconds * RATE), 1)
    cards = list(islice((each for each in purchases(seed=3) if each.kind == "card"), count))
    begun = asyncio.Event()
    tell(f"causing {fault}")
    injecting = asyncio.create_task(inject(fault, begun.set))
    try:
        beginning = asyncio.create_task(begun.wait())
        await asyncio.wait({injecting, beginning}, return_when=asyncio.FIRST_COMPLETED)
        beginning.cancel()
        if not begun.is_set():
            raise CannotBegin(f"{fault} did not begin: {(await injecting).failed}")
        tell(f"{fault} has begun; {counted(len(cards), 'order')} meanwhile")
        orders = await place_orders(addresses, cards, RATE)
        injected = await injecting
    finally:
        injecting.cancel()  # does nothing if it is over
        [undone] = await asyncio.gather(injecting, return_exceptions=True)
        if isinstance(undone, NotUndone):
            raise undone
    ended_at = monotonic()
    ledger = await settle(addresses.databases, RECOVERY_SECONDS, lambda now: tell(now.conclusion))
    recovered = monotonic() - ended_at if ledger.settled else None
    return Experiment(fault, orders, injected, before, ledger, recovered)
