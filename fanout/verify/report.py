"""Reads the databases and assesses the whole system: every consumer's account, doubles, rules and checks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic

from fanout.databases import Databases, at_once, held_in
from fanout.errors import Unreachable
from fanout.verify import dead_letters, facts, side_messages
from fanout.verify.compare import Comparison, Lost, Tell
from fanout.verify.consumers import consumers, with_set_apart
from fanout.verify.contents import comparison as contents
from fanout.verify.contradictions import contradictions
from fanout.verify.invariants import RULES, Query, Verdict, discover, of_kind
from fanout.verify.ledger import Report, as_json
from fanout.verify.reconcile import Account, ConsumerCounts, account
from fanout.verify.records import Double, Facts, Partition, RefusedRow, TopicIds, latest
from fanout.verify.snapshot import Pass, Passes, Snapshot, passes

__all__ = ["Report", "as_json", "audit", "settle"]

POLL_SECONDS = 0.5


def _silent(text: str) -> None:
    """Shows no progress."""


async def audit(databases: Databases, queries: Sequence[Query] | None = None, tell: Tell = _silent) -> Report:
    """Reads the databases once and assesses them, with the checks of all services unless others are given.

    Raises Unreachable, or FanoutError for a check that Postgres refuses.
    """
    chosen = discover() if queries is None else queries
    async with passes(databases) as both:
        report = await _assess(both, chosen, tell)
    if not of_kind("check", chosen):
        return report
    return replace(report, verdicts=[*report.verdicts, *await contents.verdicts(databases, chosen, tell)])


async def settle(
    databases: Databases,
    seconds: float,
    progress: Callable[[Report], None] = lambda report: None,
    tell: Tell = _silent,
) -> Report:
    """Audits until nothing is in flight or the time is over; a database may be unreachable in between.

    Between two audits it only looks again at what had not arrived. The report is always one that read everything.
    Parked messages are not waited for: only an operator's decision ends that.
    """
    deadline = monotonic() + seconds
    while True:
        try:
            report = await audit(databases, tell=tell)
            if report.settled or monotonic() >= deadline:
                return report
            async for seen in _until_arrived(databases, report, deadline):
                progress(seen)
        except Unreachable:
            if monotonic() >= deadline:
                raise
            await asyncio.sleep(POLL_SECONDS)


async def _until_arrived(databases: Databases, report: Report, deadline: float) -> AsyncIterator[Report]:
    """Yields the report with what is in flight by now, until that is nothing or the time is over."""
    while True:
        yield report
        await asyncio.sleep(min(POLL_SECONDS, max(deadline - monotonic(), 0)))
        if monotonic() >= deadline or report.settled:
            return
        report = await _look_again(databases, report)


async def _look_again(databases: Databases, report: Report) -> Report:
    """Returns the report with other numbers of what is in flight, read from its `unsettled` part only."""
    async with passes(databases) as both:
        topic_ids, consumer_counts = await _consumer_counts(both)
        if report.unsettled:
            async for _ in Comparison(both, consumer_counts).run(report.unsettled):
                pass
        reached = await side_messages.reached(both.first)
        names = [counts.state.consumer for counts in consumer_counts]
        in_flight = {counts.state.consumer: counts.in_flight.total() for counts in consumer_counts}
        accounts = [replace(each, in_flight=in_flight.get(each.consumer, 0)) for each in report.accounts]
        forwarded = report.forwarded and await side_messages.forwarded(both.second, reached, topic_ids, names)
        unpublished = await _unpublished(both.second)
        return replace(report, accounts=accounts, forwarded=forwarded, unpublished=unpublished)


async def lost(databases: Databases) -> AsyncIterator[Lost]:
    """Yields the lost events of consumers, some at a time, so that there may be any number."""
    async with passes(databases) as both:
        _, consumer_counts = await _consumer_counts(both)
        async for some in Comparison(both, consumer_counts).run():
            yield some


async def _assess(both: Passes, queries: Sequence[Query], tell: Tell) -> Report:
    topic_ids, consumer_counts = await _consumer_counts(both)
    comparison = Comparison(both, consumer_counts, tell)
    async for _ in comparison.run():
        pass
    tell("looking at parked and redriven messages")
    accounts = await _accounts(both, consumer_counts, comparison.records)
    reached = await side_messages.reached(both.first)
    refused, refused_orders = await _refused(both.second)
    open_orders = comparison.open_orders.union(refused_orders, *(each.open_orders for each in accounts))
    tell("looking for what happened twice")
    doubles = await _event_doubles(both.second)
    tell("comparing offsets, parked messages and dead letters")
    of_rows = [*await contradictions(both.second), *await dead_letters.follow(both, reached, topic_ids)]
    tell(f"judging {len(RULES)} rules")
    of_rules, of_facts = await facts.judge_all(both.first, both.second, queries, open_orders)
    doubles += of_facts
    verdicts = [*_verdicts(accounts, doubles, consumer_counts), *of_rows, *of_rules]
    tell("counting what waits")
    return Report(
        accounts=accounts,
        doubles=doubles,
        verdicts=verdicts,
        unpublished=await _unpublished(both.second),
        refused=refused,
        forwarded=await side_messages.forwarded(
            both.second, reached, topic_ids, [counts.state.consumer for counts in consumer_counts]
        ),
        waiting=await _waiting(both.second, queries),
        held=sorted(
            [sentence for snapshot in both.second.values() for sentence in await held_in(snapshot.db)]
        ),
        unsettled=comparison.unsettled,
    )


async def _consumer_counts(both: Passes) -> tuple[TopicIds, list[ConsumerCounts]]:
    states = [state for found in await at_once(map(consumers, both.first.values())) for state in found]
    topic_ids = await _topic_ids(both.first)
    outboxes = await at_once(snapshot.fetch(_OUTBOX_PURGED) for snapshot in both.second.values())
    since = latest(row["before"] for rows in outboxes for row in rows)
    consumer_counts = [
        ConsumerCounts(state, topic_ids, since=latest((state.since, since))) for state in states
    ]
    return topic_ids, sorted(consumer_counts, key=lambda counts: counts.state.consumer)


async def _topic_ids(first: Pass) -> TopicIds:
    seen: dict[str, dict[object, datetime]] = {}
    for rows in await at_once(snapshot.fetch(_TOPIC_IDS) for snapshot in first.values()):
        for topic, topic_id, at in rows:
            ids = seen.setdefault(topic, {})
            ids[topic_id] = min(ids.get(topic_id, at), at)
    return TopicIds(seen)  # type: ignore[arg-type]


async def _accounts(
    both: Passes, consumer_counts: Sequence[ConsumerCounts], records: Counter[Partition]
) -> list[Account]:
    purged = sum([await snapshot.value(_PURGED_ROWS) for snapshot in both.second.values()])
    redriven = (
        await side_messages.redriven(both.second)
        if any(counts.unknown for counts in consumer_counts)
        else set()
    )
    known = Counter({partition: rows + purged for partition, rows in records.items()})
    found: list[Account] = []
    for counts in consumer_counts:
        service = counts.state.service
        counts.state = await with_set_apart(both.first[service], counts.state, counts.since, counts.unknown)
        for partition in counts.state.positions:
            known.setdefault(partition, purged)
        found.append(account(counts, both.read_at[service], redriven, known))
    return found


def _verdicts(
    accounts: Sequence[Account], doubles: Sequence[Double], consumer_counts: Sequence[ConsumerCounts]
) -> Iterator[Verdict]:
    yield Verdict("nothing happened twice to one order", [str(double) for double in doubles])
    yield Verdict(
        "every effect has a published event",
        [f"{event_id} ({account.consumer})" for account in accounts for event_id in account.orphaned],
    )
    yield Verdict(
        "every received event is of a type that its consumer subscribes to",
        [
            f"{event_type} ({account.consumer}, {events} times)"
            for account in accounts
            for event_type, events in account.unsubscribed.items()
        ],
    )
    yield Verdict(
        "every consumer that has read a topic of events subscribes to some",
        [
            each.state.consumer
            for each in consumer_counts
            if not (each.state.subscriptions or each.state.dropped)
        ],
    )
    yield Verdict(
        "no received event lies far beyond what its consumer has read",
        [sentence for account in accounts for sentence in account.misplaced],
    )


async def _event_doubles(second: Pass) -> list[Double]:
    """Returns events that were published twice for one order, under two event ids."""

    async def of_service(snapshot: Snapshot) -> list[Double]:
        found = {(row[0], row[1]): row[2] for row in await snapshot.fetch(_EVENT_DOUBLES, list(ONCE))}
        names = await facts.order_ids(snapshot, _ORDERS_OF_EVENTS, {order for _, order in found})
        return [
            Double(snapshot.service, event_type, names[order], times)
            for (event_type, order), times in found.items()
        ]

    return [double for found in await at_once(map(of_service, second.values())) for double in found]


async def _unpublished(second: Pass) -> Mapping[str, int]:
    return {service: await second[service].value(_UNPUBLISHED) for service in sorted(second)}


async def _refused(second: Pass) -> tuple[list[RefusedRow], set[int]]:
    """Returns the rows, and hashes of their orders."""
    found = [(service, row) for service in sorted(second) for row in await second[service].fetch(_REFUSED)]
    rows = [RefusedRow(service, *tuple(row)[:6]) for service, row in found]
    return rows, {row["order_hash"] for _, row in found if row["order_hash"] is not None}


async def _waiting(second: Pass, queries: Sequence[Query]) -> Facts:
    found: dict[str, Counter[str]] = {}
    for query in of_kind("waiting", queries):
        if query.service in second:
            rows = await second[query.service].fetch(_BY_CONSUMER.format(sql=query.sql))
            found[query.title] = Counter({str(row[0]): row[1] for row in rows})
    return found


ONCE = frozenset(
    {
        "OrderPlaced",
        "OrderConfirmed",
        "OrderCancelled",
        "PaymentProcessed",
        "PaymentRefunded",
        "StockReserved",
        "StockRejected",
        "StockReleased",
        "OrderShipped",
    }
)
"""An order has at most one event of each of these types. Of FraudAssessed it has one per version."""

_TOPIC_IDS = "SELECT topic, topic_id, first_seen_at FROM topic_ids"
_OUTBOX_PURGED = "SELECT before FROM purges WHERE what = 'outbox'"
_PURGED_ROWS = "SELECT coalesce(sum(purged), 0)::bigint FROM purges WHERE what = 'outbox'"
_UNPUBLISHED = "SELECT count(*) FROM outbox WHERE published_at IS NULL AND discarded_at IS NULL"
_REFUSED = """
    SELECT id, topic, type, aggregate_id, concat_ws(': ', error_type, error_message), discarded_at IS NOT NULL,
        hashtextextended(aggregate_id, 0) AS order_hash
    FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY id
"""
_BY_CONSUMER = "SELECT id, count(*) FROM ({sql}) AS waiting (id) GROUP BY 1"
_EVENT_DOUBLES = """
    SELECT type, hashtextextended(aggregate_id, 0) AS order_hash, count(*) FROM outbox
    WHERE aggregate_id IS NOT NULL AND discarded_at IS NULL AND type = ANY($1::text[])
    GROUP BY 1, 2 HAVING count(*) > 1
"""
_ORDERS_OF_EVENTS = """
    SELECT DISTINCT hashtextextended(aggregate_id, 0), aggregate_id FROM outbox
    WHERE aggregate_id IS NOT NULL AND hashtextextended(aggregate_id, 0) = ANY($1::bigint[])
"""
