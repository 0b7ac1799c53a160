"""The verdict on the whole system: accounts, doubles and checks, and whether they hold."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chassis.events.topics import RETRY, retry_topic
from fanout.verify.doubles import Double, doubled_events, doubled_facts
from fanout.verify.invariants import RULES, Verdict, judge
from fanout.verify.reconcile import Account, account, by_subscription
from fanout.verify.records import Facts, Forwarded, Partition, Reading, RefusedRow


@dataclass(frozen=True, slots=True)
class Report:
    accounts: Sequence[Account]
    doubles: Sequence[Double]
    verdicts: Sequence[Verdict]
    unpublished: Mapping[str, int]
    refused: Sequence[RefusedRow] = ()
    """Outbox rows that cannot be sent, and those that were discarded."""
    forwarded: int = 0
    """Dead letters that are not filed yet, and letters sent back that their consumer has not received."""
    waiting: Facts = field(default_factory=dict)
    """What waits for a person, by consumer. It is accounted for, so it breaks nothing."""

    @property
    def lost(self) -> int:
        """Events that a consumer passed without a receipt, and receipts without an application."""
        return sum(len(account.lost) + max(-account.surplus, 0) for account in self.accounts)

    @property
    def applied_twice(self) -> int:
        """A double can show as a surplus, in a fact and in an event: within a service it counts once."""
        surplus = {account.consumer: max(account.surplus, 0) for account in self.accounts}
        return sum(
            max(surplus.get(service, 0), len(self._doubled_orders(service))) for service in self._services()
        )

    @property
    def set_aside(self) -> Sequence[RefusedRow]:
        """Outbox rows that cannot be sent, and of which nobody has decided what is to become of them."""
        return [row for row in self.refused if not row.is_discarded]

    @property
    def on_the_way(self) -> int:
        """Deliveries that are still to come; if there are none, rows that the relay has still to send."""
        expected = sum(len(account.on_the_way) for account in self.accounts) + self.forwarded
        return expected or sum(self.unpublished.values())

    @property
    def settled(self) -> bool:
        return self.on_the_way == 0

    @property
    def holds(self) -> bool:
        broken = any(verdict.offenders for verdict in self.verdicts)
        return not (broken or self.lost or self.applied_twice or self.set_aside)

    @property
    def unfinished_orders(self) -> Sequence[str]:
        """Orders that cannot go on although nothing is on the way: a consumer has parked what they need."""
        pending = {order for verdict in self.verdicts for order in verdict.pending}
        return sorted(pending) if self.settled else []

    @property
    def waits(self) -> Sequence[str]:
        found = [f"{consumers.total()} {what}" for what, consumers in self.waiting.items() if consumers]
        unfinished = len(self.unfinished_orders)
        return [*found, f"orders unfinished {unfinished}"] if unfinished else found

    @property
    def conclusion(self) -> str:
        rest = [] if self.settled else [f"on the way {self.on_the_way}"]
        aside = [f"cannot be sent {len(self.set_aside)}"] if self.set_aside else []
        return ", ".join(
            [f"lost {self.lost}", f"applied twice {self.applied_twice}", *rest, *aside, *self.waits]
        )

    def _services(self) -> set[str]:
        return {account.consumer for account in self.accounts} | {double.service for double in self.doubles}

    def _doubled_orders(self, service: str) -> set[str]:
        return {double.order_id for double in self.doubles if double.service == service}


def assess(reading: Reading) -> Report:
    known = {event.event_id for event in reading.outbox}
    vouched = {message.vouched_for for message in reading.forwarded if message.vouched_for}
    topics = by_subscription(reading.outbox)
    since = reading.complete_since
    accounts = [account(receipts, topics, known, vouched, since) for receipts in reading.receipts]
    doubles = [*doubled_facts(reading.late), *doubled_events(reading.outbox)]
    verdicts = list(_verdicts(reading, accounts, doubles))
    forwarded = len(list(_not_received(reading)))
    return Report(
        accounts, doubles, verdicts, reading.unpublished, reading.refused, forwarded, reading.waiting
    )


def _not_received(reading: Reading) -> Iterator[Forwarded]:
    """What goes back to a consumer whose books are elsewhere, or gone, is nothing to wait for."""
    known = {retry_topic("", receipts.consumer) for receipts in reading.receipts}
    for message in reading.forwarded:
        is_known = not message.topic.endswith(RETRY) or message.topic.endswith(tuple(known))
        if is_known and message.offset >= reading.reached.get(Partition(message.topic, message.partition), 0):
            yield message


def _verdicts(reading: Reading, accounts: Sequence[Account], doubles: Sequence[Double]) -> Iterator[Verdict]:
    yield Verdict("nothing happened twice to one order", [str(double) for double in doubles])
    yield Verdict(
        "every effect has a published event",
        [f"{event_id} ({books.consumer})" for books in accounts for event_id in books.unfounded],
    )
    yield from (Verdict(sentence, ids) for sentence, ids in reading.offenders.items())
    waiting = _open_orders(accounts) | {row.order_id for row in reading.refused if row.order_id}
    yield from (judge(rule, reading.early, reading.late, waiting) for rule in RULES)


def _open_orders(accounts: Sequence[Account]) -> set[str]:
    return {order for books in accounts for order in books.open_orders}


def as_json(report: Report) -> dict[str, Any]:
    return {
        "lost": report.lost,
        "applied_twice": report.applied_twice,
        "on_the_way": report.on_the_way,
        "settled": report.settled,
        "holds": report.holds,
        "unpublished": dict(report.unpublished),
        "forwarded": report.forwarded,
        "refused": [row._asdict() for row in report.refused],
        "waiting": {what: dict(consumers) for what, consumers in report.waiting.items()},
        "unfinished_orders": list(report.unfinished_orders),
        "consumers": [_account_json(account) for account in report.accounts],
        "checks": [
            {"check": verdict.sentence, "holds": not verdict.offenders, "pending": len(verdict.pending)}
            | {"offenders": list(verdict.offenders)}
            for verdict in report.verdicts
        ],
    }


def _account_json(account: Account) -> dict[str, Any]:
    return {
        "consumer": account.consumer,
        "since": account.since and account.since.isoformat(),
        "published": account.published,
        "applied": account.applied,
        "on_the_way": len(account.on_the_way),
        "parked": account.parked,
        "lost": [_event_json(event.type, event.order_id, str(event.event_id)) for event in account.lost],
        "surplus_applications": account.surplus,
        "redelivered": account.duplicates,
        "foreign_parked": account.foreign_parked,
    }


def _event_json(type: str, order_id: str, event_id: str) -> dict[str, str]:
    return {"type": type, "order_id": order_id, "event_id": event_id}
