"""The report of `fanout verify`: what counts as lost or applied twice, when it holds, and its conclusion."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from fanout.console import counted
from fanout.verify.compare import Window
from fanout.verify.invariants import Verdict
from fanout.verify.reconcile import Account
from fanout.verify.records import Double, Facts, RefusedRow, earliest

Word = Literal["holds", "waiting", "broken"]
LISTED = 1_000
"""So many ids of one check are in the JSON; their number is always given."""


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
    topics: Mapping[str, object] | None = None
    """How many records and rows were compared, if the topics were read too."""
    unsettled: Window | None = None
    """The part of all events that has to be read again to see whether everything has arrived."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the databases had been read."""

    @property
    def lost(self) -> int:
        """Events that a consumer passed without a receipt, and receipts without an application."""
        return sum(account.lost + account.deficit for account in self.accounts)

    @property
    def applied_twice(self) -> int:
        """A double can show as an excess, in a fact and in an event: within a service it counts once."""
        excess = {account.consumer: account.excess for account in self.accounts}
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
        expected = sum(account.in_flight for account in self.accounts) + self.forwarded
        return expected or sum(self.unpublished.values())

    @property
    def settled(self) -> bool:
        return self.in_flight == 0

    @property
    def oldest(self) -> float | None:
        """The age in seconds of the oldest event in flight, None if there is none."""
        oldest = earliest(account.oldest_in_flight for account in self.accounts)
        return max((self.at - oldest).total_seconds(), 0.0) if oldest else None

    @property
    def stalled(self) -> Mapping[str, float]:
        """Consumers that have received nothing for so many seconds although something waits for them."""
        return {
            account.consumer: account.stalled_seconds
            for account in self.accounts
            if account.stalled_seconds is not None
        }

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
        """Returns the verdict in one sentence, which names all that stands against `holds`."""
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
            age = "" if self.oldest is None else f", oldest {self.oldest:.0f} s"
            yield f"{counted(self.in_flight, 'event')} in flight{age}"
        if self.stalled:
            yield ", ".join(
                f"{consumer} stalled for {seconds:.0f} s" for consumer, seconds in self.stalled.items()
            )


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
        "unfinished_orders": report.unfinished_orders[:LISTED],
        "stalled": report.stalled,
        "held_partitions": report.held,
        **({} if report.topics is None else {"topics": report.topics}),
        "consumers": [
            {
                "consumer": account.consumer,
                "since": account.since,
                "published": account.published,
                "applied": account.applied,
                "in_flight": account.in_flight,
                "stalled_seconds": account.stalled_seconds,
                "parked": account.parked,
                "lost_events": account.lost,
                "lost": [
                    {"type": event.type, "order_id": event.order_id, "event_id": event.event_id}
                    for event in account.lost_events
                ],
                "deleted_unread": account.deleted_unread,
                "excess_applications": account.excess - account.deficit,
                "applied_more_than_received": account.excess,
                "received_and_not_applied": account.deficit,
                "partitions": [
                    {
                        "partition": str(each.partition),
                        "in_flight": each.in_flight,
                        "lost": each.lost,
                        "excess_applications": each.excess,
                    }
                    for each in account.partitions
                ],
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
                "offending": verdict.offending,
                "offenders": verdict.offenders[:LISTED],
            }
            for verdict in report.verdicts
        ],
    }
