"""Reads the state of every consumer: its subscriptions, offsets and counters, and what it parked or had redriven."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chassis.consumer.subscriptions import DROPPED
from fanout.verify.ranges import first_id_of
from fanout.verify.records import ConsumerState, Ignored, Partition, Position, Receipt, Subscription
from fanout.verify.snapshot import Snapshot


async def consumers(snapshot: Snapshot) -> list[ConsumerState]:
    """Returns every consumer whose inbox is in this database, also one of which no subscription is left."""
    subscriptions = await snapshot.fetch("SELECT consumer, topic, type FROM subscriptions")
    offsets = await snapshot.fetch(_OFFSETS)
    ignored = await snapshot.fetch(_IGNORED)
    purges = {row["what"]: row for row in await snapshot.fetch("SELECT what, before, purged FROM purges")}
    inbox = purges.get("inbox")
    dropped = {what.removeprefix(DROPPED) for what in purges if what.startswith(DROPPED)}
    names = {row["consumer"] for row in await snapshot.fetch(_CONSUMERS)}
    return [
        ConsumerState(
            consumer=consumer,
            service=snapshot.service,
            subscriptions={Subscription(*row[1:]) for row in map(tuple, subscriptions) if row[0] == consumer},
            positions={
                Partition(row[1], row[2]): Position(*row[3:])
                for row in map(tuple, offsets)
                if row[0] == consumer
            },
            purged=inbox["purged"] if inbox else 0,
            since=inbox["before"] if inbox else None,
            ignored=[Ignored(*row[1:]) for row in map(tuple, ignored) if row[0] == consumer],
            dropped=dropped,
        )
        for consumer in sorted(names)
    ]


async def with_set_apart(
    snapshot: Snapshot, state: ConsumerState, since: datetime | None, unknown: Sequence[Receipt]
) -> ConsumerState:
    """Returns the state with what was parked or redriven. `unknown`: receipts of events that no outbox has."""
    ids = [receipt.event_id for receipt in unknown]
    known = (state.consumer, ids, UUID(int=first_id_of(since) if since else 0))
    redirected = await snapshot.fetch(_REDIRECTED, *known)
    [counts] = await snapshot.fetch(_SET_APART, *known)
    return replace(
        state,
        redirected={Partition(row["topic"], row["partition"]): row["events"] for row in redirected},
        set_apart=counts["set_apart"],
        redriven=counts["redriven"] + sum(bool(each.redrive and not each.is_parked) for each in unknown),
        unknown_producer_parked=await snapshot.value(_NAMELESS, state.consumer)
        + sum(each.is_parked for each in unknown),
        parked_orders=frozenset([row[0] async for row in snapshot.stream(_PARKED_ORDERS, state.consumer)]),
    )


_OFFSETS = "SELECT consumer, topic, partition, next_offset, applied, duplicates, lost, topic_id FROM consumer_offsets"
_IGNORED = """
    SELECT consumer, topic, partition, type, first_offset, last_offset, events FROM ignored_events
    ORDER BY topic, partition, type
"""
# The recursive part finds each consumer of the inbox by one step in its index.
_CONSUMERS = """
    WITH RECURSIVE receivers AS (
        (SELECT consumer FROM inbox ORDER BY consumer LIMIT 1)
        UNION ALL
        SELECT (SELECT consumer FROM inbox WHERE consumer > receivers.consumer ORDER BY consumer LIMIT 1)
        FROM receivers WHERE receivers.consumer IS NOT NULL
    )
    SELECT consumer FROM receivers WHERE consumer IS NOT NULL UNION SELECT consumer FROM subscriptions
    UNION SELECT consumer FROM consumer_offsets WHERE topic NOT LIKE '%.dlq' AND topic NOT LIKE '%.retry'
"""
_KNOWN = """
    inbox.consumer = $1 AND event_id <> ALL($2::uuid[])
        AND NOT (event_id < $3 AND get_byte(uuid_send(event_id), 6) >> 4 = 7)
"""
_REDIRECTED = f"""
    SELECT topic, partition, count(DISTINCT event_id) AS events FROM parked JOIN inbox USING (consumer, event_id)
    WHERE topic NOT LIKE '%.retry' AND (status = 'parked' OR inbox.redrive > 0) AND {_KNOWN} GROUP BY 1, 2
"""
_SET_APART = f"""
    SELECT count(*) AS set_apart, count(*) FILTER (WHERE status = 'applied') AS redriven
    FROM inbox WHERE (status = 'parked' OR redrive > 0) AND {_KNOWN}
"""
_NAMELESS = "SELECT count(*) FROM parked WHERE consumer = $1 AND event_id IS NULL"
_PARKED_ORDERS = """
    SELECT DISTINCT hashtextextended(encode(key, 'escape'), 0) FROM parked JOIN inbox USING (consumer, event_id)
    WHERE consumer = $1 AND status = 'parked' AND key IS NOT NULL
"""
