"""Assesses the whole system: every consumer's account, doubles and checks, and whether all of it holds."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from chassis.events.topics import REDRIVE, redrive_topic
from fanout.databases import Databases
from fanout.errors import Unreachable
from fanout.verify.invariants import RULES, Query, Verdict, discover, judge
from fanout.verify.reconcile import Account, Double, account, by_subscription, doubles
from fanout.verify.records import Facts, Forwarded, Partition, Reading, RefusedRow
from fanout.verify.snapshot import read

POLL_SECONDS = 0.5


async def audit(databases: Databases, queries: Sequence[Query] | None = None) -> "Report":
    """Reads the databases once and assesses them, with the checks of all services unless others are given."""
    return assess(await read(databases, discover() if queries is None else queries))


async def settle(
    databases: Databases, seconds: float, progress: Callable[["Report"], None] = lambda report: None
) -> "Report":
    """Audits until nothing is in flight or the time is over; a database may be unreachable in between."""
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


def assess(reading: Reading) -> "Report":
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
        list(_verdicts(reading, accounts, doubled)),
        reading.unpublished,
        reading.refused,
        len(list(_not_received(reading))),
        reading.waiting,
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
    """What waits for an operator, by consumer. It is accounted for, so the report holds."""

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
    def holds(self) -> bool:
        broken = any(verdict.offenders for verdict in self.verdicts)
        return not (broken or self.lost or self.applied_twice or self.set_aside)

    @property
    def unfinished_orders(self) -> Sequence[str]:
        """Orders that cannot go on although nothing is in flight: a consumer has parked what they need."""
        pending = {order for verdict in self.verdicts for order in verdict.pending}
        return sorted(pending) if self.settled else []

    @property
    def waits(self) -> Sequence[str]:
        found = [f"{consumers.total()} {what}" for what, consumers in self.waiting.items() if consumers]
        unfinished = len(self.unfinished_orders)
        return [*found, f"orders unfinished {unfinished}"] if unfinished else found

    @property
    def conclusion(self) -> str:
        rest = [] if self.settled else [f"in flight {self.in_flight}"]
        aside = [f"cannot be sent {len(self.set_aside)}"] if self.set_aside else []
        return ", ".join(
            [f"lost {self.lost}", f"applied twice {self.applied_twice}", *rest, *aside, *self.waits]
        )


def _verdicts(reading: Reading, accounts: Sequence[Account], doubled: Sequence[Double]) -> Iterator[Verdict]:
    yield Verdict("nothing happened twice to one order", [str(double) for double in doubled])
    yield Verdict(
        "every effect has a published event",
        [f"{event_id} ({account.consumer})" for account in accounts for event_id in account.orphaned],
    )
    yield from (Verdict(sentence, ids) for sentence, ids in reading.offenders.items())
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
        "lost": report.lost,
        "applied_twice": report.applied_twice,
        "in_flight": report.in_flight,
        "settled": report.settled,
        "holds": report.holds,
        "unpublished": report.unpublished,
        "forwarded": report.forwarded,
        "ignored": report.ignored,
        "refused": [row._asdict() for row in report.refused],
        "waiting": report.waiting,
        "unfinished_orders": report.unfinished_orders,
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
