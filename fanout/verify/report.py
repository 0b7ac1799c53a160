"""Assesses the whole system: every consumer's account, doubles and checks, and whether all of it holds."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal

from chassis.events.topics import REDRIVE, redrive_topic
from fanout.console import counted
from fanout.databases import Databases
from fanout.errors import Unreachable
from fanout.verify.contents import comparison as contents
from fanout.verify.invariants import RULES, Query, Verdict, discover, judge
from fanout.verify.reconcile import Account, Double, account, by_subscription, doubles
from fanout.verify.records import Facts, Forwarded, Partition, Reading, RefusedRow, made_at
from fanout.verify.snapshot import read

POLL_SECONDS = 0.5

Word = Literal["holds", "waiting", "broken"]


async def audit(databases: Databases, queries: Sequence[Query] | None = None) -> "Report":
    """Reads the databases once and assesses them, with the checks of all services unless others are given."""
    chosen = discover() if queries is None else queries
    return assess(await read(databases, chosen), await contents.verdicts(databases, chosen))


async def settle(
    databases: Databases, seconds: float, progress: Callable[["Report"], None] = lambda report: None
) -> "Report":
    """Audits until nothing is in flight or the time is over; a database may be unreachable in between.

    Parked messages are not waited for: only an operator's decision ends that.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            report = await audit(databases)
        except Unreachable:
            if monotonic() >= deadline:
                raise
        else:
            if report.settled or monotonic() >= deadline:
                return report
            progress(report)
        await asyncio.sleep(POLL_SECONDS)


def assess(reading: Reading, of_contents: Sequence[Verdict] = ()) -> "Report":
    known = {event.event_id for event in reading.outbox}
    redriven = {message.redriven for message in reading.forwarded if message.redriven}
    topics = by_subscription(reading.outbox)
    accounts = [
        account(state, topics, known, redriven, reading.complete_since) for state in reading.consumers
    ]
    doubled = doubles(reading.late, reading.outbox)
    return Report(
        accounts,
        doubled,
        [*_verdicts(reading, accounts, doubled), *of_contents],
        reading.unpublished,
        reading.refused,
        len(list(_not_received(reading))),
        reading.waiting,
        reading.held,
    )


@dataclass(frozen=True, slots=True)
class Report:
    accounts: Sequence[Account]
    doubles: Sequence[Double]
    verdicts: Sequence[Verdict]
    unpublished: Mapping[str, int]
    refused: Sequence[RefusedRow] = ()
    """Outbox rows that cannot be sent, and those that were discarded."""
    forwarded: int = 0
    """Dead letters that are not stored yet, and redriven ones that their consumer has not received."""
    waiting: Facts = field(default_factory=dict)
    """What waits for an operator, by consumer. It is accounted for, so nothing is broken."""
    held: Sequence[str] = ()
    """A sentence for each partition that a consumer cannot read on."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the databases had been read."""

    @property
    def lost(self) -> int:
        """Events that a consumer passed without a receipt, and receipts without an application."""
        return sum(len(account.lost) + max(-account.excess, 0) for account in self.accounts)

    @property
    def applied_twice(self) -> int:
        """A double can show as an excess, in a fact and in an event: within a service it counts once."""
        excess = {account.consumer: max(account.excess, 0) for account in self.accounts}
        orders: dict[str, set[str]] = {}
        for double in self.doubles:
            orders.setdefault(double.service, set()).add(double.order_id)
        services = excess.keys() | orders.keys()
        return sum(max(excess.get(service, 0), len(orders.get(service, ()))) for service in services)

    @property
    def ignored(self) -> Mapping[str, Mapping[str, int]]:
        """Events of types that consumers did not know, by type and consumer."""
        found: dict[str, dict[str, int]] = {}
        for each in self.accounts:
            for event_type, events in each.ignored.items():
                found.setdefault(event_type, {})[each.consumer] = events
        return dict(sorted(found.items()))

    @property
    def set_aside(self) -> Sequence[RefusedRow]:
        """Outbox rows that cannot be sent and wait for an operator's decision."""
        return [row for row in self.refused if not row.is_discarded]

    @property
    def in_flight(self) -> int:
        """Deliveries that are still to come; if there are none, rows that the relay has still to send."""
        expected = sum(len(account.in_flight) for account in self.accounts) + self.forwarded
        return expected or sum(self.unpublished.values())

    @property
    def settled(self) -> bool:
        return self.in_flight == 0

    @property
    def oldest(self) -> float | None:
        """The age in seconds of the oldest event in flight, None if there is none or no id says when it was made."""
        in_flight = [event.event_id for account in self.accounts for event in account.in_flight]
        times = [made for made in map(made_at, in_flight) if made]
        return max((self.at - min(times)).total_seconds(), 0.0) if times else None

    @property
    def parked(self) -> int:
        """Dead letters that are neither redriven nor discarded; without their database, what consumers have parked."""
        if self.waiting:
            return sum(consumers.total() for consumers in self.waiting.values())
        return sum(account.parked + account.unknown_producer_parked for account in self.accounts)

    @property
    def violated(self) -> int:
        return sum(bool(verdict.offenders) for verdict in self.verdicts)

    @property
    def unfinished_orders(self) -> Sequence[str]:
        """Orders that cannot go on although nothing is in flight: a consumer has parked what they need."""
        pending = {order for verdict in self.verdicts for order in verdict.pending}
        return sorted(pending) if self.settled else []

    @property
    def verdict(self) -> Word:
        """The word for all of it.

        A row that cannot be sent and a partition that cannot be read are broken: no time and no redrive mends them.
        """
        if self.lost or self.applied_twice or self.violated or self.set_aside or self.held:
            return "broken"
        return "holds" if self.settled and not self.parked else "waiting"

    @property
    def conclusion(self) -> str:
        """The verdict in one sentence, which names all that stands against `holds`."""
        counts = f"lost {self.lost}, applied twice {self.applied_twice}"
        match self.verdict:
            case "holds":
                discarded = counted(len(self.unfinished_orders), "order")
                rest = f"; {discarded} cannot go on: see above" if self.unfinished_orders else ""
                return f"holds: {counts}, in flight 0, parked 0{rest}"
            case "waiting":
                return f"waiting: {'; '.join(self._waits())}; {counts}"
        return f"broken: {'; '.join([counts, *self._breaks(), *self._waits()])}"

    def _breaks(self) -> Iterator[str]:
        if self.violated:
            yield f"{counted(self.violated, 'check')} violated"
        if self.set_aside:
            yield f"{counted(len(self.set_aside), 'outbox row')} cannot be sent"
        if self.held:
            yield f"{counted(len(self.held), 'partition')} cannot be read"

    def _waits(self) -> Iterator[str]:
        if self.parked:
            orders = len(self.unfinished_orders)
            holds = f" {'holds' if self.parked == 1 else 'hold'} {counted(orders, 'order')} back" * bool(
                orders
            )
            yield f"{counted(self.parked, 'parked message')}{holds} (fanout dlq ls)"
        if self.in_flight:
            age = "" if self.oldest is None else f", the oldest for {self.oldest:.0f} s"
            yield f"{counted(self.in_flight, 'event')} in flight{age}"


def _verdicts(reading: Reading, accounts: Sequence[Account], doubled: Sequence[Double]) -> Iterator[Verdict]:
    yield Verdict("nothing happened twice to one order", [str(double) for double in doubled])
    yield Verdict(
        "every effect has a published event",
        [f"{event_id} ({account.consumer})" for account in accounts for event_id in account.orphaned],
    )
    open_orders = {order for account in accounts for order in account.open_orders}
    open_orders |= {row.order_id for row in reading.refused if row.order_id}
    yield from (judge(rule, reading.early, reading.late, open_orders) for rule in RULES)


def _not_received(reading: Reading) -> Iterator[Forwarded]:
    """Leaves out what was redriven to a consumer whose database is not among those that were read."""
    known = tuple({redrive_topic("", state.consumer) for state in reading.consumers})
    for message in reading.forwarded:
        is_known = not message.topic.endswith(REDRIVE) or message.topic.endswith(known)
        if is_known and message.offset >= reading.reached.get(Partition(message.topic, message.partition), 0):
            yield message


def as_json(report: Report) -> dict[str, Any]:
    return {
        "verdict": report.verdict,
        "sentence": report.conclusion,
        "lost": report.lost,
        "applied_twice": report.applied_twice,
        "in_flight": report.in_flight,
        "parked": report.parked,
        "settled": report.settled,
        "oldest_in_flight_seconds": report.oldest,
        "unpublished": report.unpublished,
        "forwarded": report.forwarded,
        "ignored": report.ignored,
        "refused": [row._asdict() for row in report.refused],
        "waiting": report.waiting,
        "unfinished_orders": report.unfinished_orders,
        "held_partitions": report.held,
        "consumers": [
            {
                "consumer": account.consumer,
                "since": account.since,
                "published": account.published,
                "applied": account.applied,
                "in_flight": len(account.in_flight),
                "parked": account.parked,
                "lost": [
                    {"type": event.type, "order_id": event.order_id, "event_id": event.event_id}
                    for event in account.lost
                ],
                "excess_applications": account.excess,
                "redelivered": account.duplicates,
                "unknown_producer_parked": account.unknown_producer_parked,
                "ignored": account.ignored,
            }
            for account in report.accounts
        ],
        "checks": [
            {
                "check": verdict.sentence,
                "holds": not verdict.offenders,
                "pending": len(verdict.pending),
                "offenders": verdict.offenders,
            }
            for verdict in report.verdicts
        ],
    }
