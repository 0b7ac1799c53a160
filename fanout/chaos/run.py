"""A run: orders at a steady rate, faults on a schedule, the ledger asked all the time, and both judges at the end."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import inf
from time import monotonic, time
from typing import Any

from fanout.chaos.bites import Bites, bites, counters
from fanout.chaos.inject import Injected, inject
from fanout.chaos.schedule import Planned
from fanout.console import Tell, counted
from fanout.errors import FanoutError
from fanout.failures import explained
from fanout.load import LoadReport, Placement, place_orders, purchases
from fanout.repository import REPOSITORY
from fanout.running import Addresses
from fanout.verify.report import Report, audit, settle

ASK_SECONDS = 10.0
PATIENCE_SECONDS = 300.0
"""An invoice that is not paid by then, because payments is so far behind, is reported and no violation."""
START_SECONDS = 5.0
"""How long before a fault is due its process is started, for that may take so long on a busy machine."""
STALLED_SECONDS = 90.0
"""So long what is in flight may not become less; on a busy machine all of it may take much longer."""
JUDGE = REPOSITORY / "tests" / "judge"
JUDGE_WORDS = {0: "holds", 1: "broken", 3: "waiting"}


@dataclass(slots=True)
class PlayedFault:
    """A fault of the schedule and what it met; times are seconds from the first order."""

    planned: Planned
    began: float | None = None
    ended: float | None = None
    injected: Injected = field(default_factory=Injected)
    problem: str = ""
    """Why it could not be undone."""
    answered: int = 0
    slowest: float = 0.0
    """Of the orders that were answered while it lasted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer of the ledger during the run; its verdict is "unanswered" while a database does not answer."""

    at: float
    verdict: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The exit code and the document of the judge that shares no code with the ledger."""

    verdict: str
    document: Any


@dataclass(frozen=True, slots=True)
class Run:
    met: Sequence[PlayedFault]
    asked: Sequence[Asked]
    load: LoadReport
    bites: Bites
    parked_before: int
    ledger: Report
    settled_after: float | None
    """Seconds from the last answer and the last fault until nothing was in flight."""
    judgement: Judgement | None
    """None where the independent judge is not there."""
    seconds: float

    @property
    def violations(self) -> list[str]:
        found = [f"{met.planned.fault} was not undone: {met.problem}" for met in self.met if met.problem]
        if set(self.load.outcomes) != {"ok"} or self.load.payments["failed"]:
            found.append(f"an order was not taken, or a payment failed: {'; '.join(self.load.lines())}")
        if broken := [asked for asked in self.asked if asked.verdict == "broken"]:
            found.append(
                f"{counted(len(broken), 'time')} asked meanwhile, the ledger said {broken[0].sentence}"
            )
        if self.ledger.verdict == "broken" or not self.ledger.settled:
            found.append(f"at the end the ledger says {self.ledger.conclusion}")
        if (more := self.ledger.parked - self.parked_before) > 0:
            found.append(f"{counted(more, 'message')} that no fault had poisoned stayed parked")
        accepted = ("holds", "waiting") if self.parked_before else ("holds",)
        if self.judgement and self.judgement.verdict not in accepted:
            found.append(f"the independent judge says {self.judgement.verdict}")
        return found

    @property
    def verdict(self) -> str:
        if self.violations:
            return "violated"
        return "held" if self.bites.is_valid and any(met.began is not None for met in self.met) else "invalid"


async def run(
    addresses: Addresses, plan: Sequence[Planned], orders: int, rate: float, seed: int, tell: Tell
) -> Run:
    """Raises FanoutError if the ledger is broken or not settled before. Cancelled, it undoes every fault first."""
    ledger = await _settled(addresses, tell)
    if ledger.verdict == "broken" or not ledger.settled:
        raise FanoutError(f"nothing was done, for the ledger says before: {ledger.conclusion}: fanout verify")
    before, parked_before, start = await counters(addresses), ledger.parked, monotonic()
    answers: list[tuple[float, Placement]] = []
    asked: list[Asked] = []
    met = [PlayedFault(planned) for planned in plan]

    def watch(placement: Placement) -> None:
        answers.append((monotonic() - start, placement))
        tell(
            f"{len(answers)} of {orders} orders answered, {sum(each.began is not None for each in met)} faults"
        )

    auditing = asyncio.create_task(_ask(addresses, asked, start))
    try:
        async with asyncio.TaskGroup() as group:
            wanted = list(islice(purchases(seed), orders))
            placing = group.create_task(
                place_orders(addresses, wanted, rate, patient=True, patience=PATIENCE_SECONDS, watch=watch)
            )
            for each in met:
                await asyncio.sleep(max(start + each.planned.at - START_SECONDS - monotonic(), 0))
                group.create_task(_cause(each, start))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        auditing.cancel()
        await asyncio.gather(auditing, return_exceptions=True)
    over = monotonic()
    ledger = await _settled(addresses, tell)
    settled_after = monotonic() - over if ledger.settled else None
    tell("asking the independent judge")
    judgement = await _judge()
    _add_answers(met, answers)
    duplicated = sum(each.injected.met.get("duplicated", 0) for each in met)
    found = bites(before, await counters(addresses), placing.result().unknown_answers, duplicated)
    return Run(
        met,
        asked,
        placing.result(),
        found,
        parked_before,
        ledger,
        settled_after,
        judgement,
        monotonic() - start,
    )


async def _cause(met: PlayedFault, start: float) -> None:
    def begun() -> None:
        met.began = monotonic() - start

    try:
        due = time() + start + met.planned.at - monotonic()
        met.injected = await inject(met.planned.fault, begun, due)
    except FanoutError as error:
        met.problem = str(error)
    met.ended = monotonic() - start


async def _ask(addresses: Addresses, asked: list[Asked], start: float) -> None:
    while True:
        await asyncio.sleep(ASK_SECONDS)
        at = monotonic() - start
        try:
            report = await audit(addresses.databases)
            asked.append(Asked(at, report.verdict, report.conclusion))
        except Exception as error:  # whatever a fault does to a session
            asked.append(Asked(at, "unanswered", str(explained(error))))


async def _settled(addresses: Addresses, tell: Tell) -> Report:
    """Waits until nothing is in flight, or what is becomes no less."""
    least, since = inf, monotonic()
    while True:
        report = await settle(addresses.databases, ASK_SECONDS, lambda now: tell(now.conclusion))
        if report.in_flight < least:
            least, since = report.in_flight, monotonic()
        if report.settled or monotonic() - since > STALLED_SECONDS:
            return report


async def _judge() -> Judgement | None:
    if not JUDGE.is_dir():
        return None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.judge", "--json"),
        cwd=REPOSITORY,
        env=os.environ,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    try:
        document = json.loads(printed)
    except ValueError:
        document = printed.decode(errors="replace")
    return Judgement(JUDGE_WORDS.get(process.returncode or 0, f"failed ({process.returncode})"), document)


def _add_answers(met: Sequence[PlayedFault], answers: Sequence[tuple[float, Placement]]) -> None:
    for each in met:
        if each.began is not None and each.ended is not None:
            during = [placement for at, placement in answers if each.began <= at <= each.ended]
            each.answered = len(during)
            each.slowest = max((placement.seconds for placement in during), default=0.0)
