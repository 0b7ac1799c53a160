"""Counts messages that are no events: dead letters and redriven ones that their reader has not received yet."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from chassis.events.topics import DLQ, REDRIVE, redrive_topic
from chassis.outbox.table import UnreadableHeaders, load_headers
from fanout.databases import at_once
from fanout.verify.records import Partition, Position, TopicIds
from fanout.verify.snapshot import Pass, Snapshot

Reached = Mapping[Partition, Position]
"""How far the one group that reads a dead-letter or redrive topic has read it."""


async def reached(first: Pass) -> dict[Partition, Position]:
    found = await at_once(snapshot.fetch(_REACHED) for snapshot in first.values())
    return {Partition(row[0], row[1]): Position(row[2], topic_id=row[3]) for rows in found for row in rows}


async def forwarded(second: Pass, reached: Reached, topic_ids: TopicIds, consumers: Iterable[str]) -> int:
    """Leaves out what was redriven to a consumer whose database is not among those that were read."""
    known = tuple({redrive_topic("", consumer) for consumer in consumers})
    places = [(*place, position.next_offset) for place, position in reached.items()]
    values = [[place[column] for place in places] for column in range(3)]
    found = await at_once(snapshot.fetch(_SENT, *values) for snapshot in second.values())
    return sum(
        _ahead(row, reached, topic_ids)
        for rows in found
        for row in rows
        if not row["topic"].endswith(REDRIVE) or row["topic"].endswith(known)
    )


async def redriven(second: Pass) -> set[UUID]:
    """Returns the event ids of all redriven messages."""
    ids = await at_once(_redriven(snapshot) for snapshot in second.values())
    return {event_id for of_service in ids for event_id in of_service if event_id}


def _ahead(row: Mapping[str, int], reached: Reached, topic_ids: TopicIds) -> int:
    """Returns how many messages of a topic and partition its reader has still to reach."""
    topic, topic_id = str(row["topic"]), row["topic_id"]
    position = reached.get(Partition(topic, row["kafka_partition"]))
    sent = topic_ids.age(topic, topic_id)  # type: ignore[arg-type]
    read = topic_ids.age(topic, position.topic_id) if position else sent
    return 0 if sent < read else row["messages"] if sent > read else row["ahead"]


async def _redriven(snapshot: Snapshot) -> list[UUID | None]:
    return [_event_id(row["headers"]) async for row in snapshot.stream(_REDRIVEN)]


def _event_id(headers: str) -> UUID | None:
    try:
        event_id = dict(load_headers(headers)).get("ce_id") or b""
        return UUID(event_id.decode("ascii", "replace"))
    except (UnreadableHeaders, ValueError):
        return None


_REACHED = f"""
    SELECT topic, partition, next_offset, topic_id FROM consumer_offsets
    WHERE topic LIKE '%{DLQ}' OR topic LIKE '%{REDRIVE}'
"""
_SENT = """
    SELECT outbox.topic, kafka_partition, topic_id, count(*) AS messages,
        count(*) FILTER (WHERE kafka_offset >= coalesce(next_offset, 0)) AS ahead
    FROM outbox
    LEFT JOIN unnest($1::text[], $2::int[], $3::bigint[]) AS reached (topic, partition, next_offset)
        ON (reached.topic, reached.partition) = (outbox.topic, kafka_partition)
    WHERE aggregate_id IS NULL AND kafka_offset IS NOT NULL GROUP BY 1, 2, 3
"""
_REDRIVEN = f"SELECT headers FROM outbox WHERE aggregate_id IS NULL AND topic LIKE '%{REDRIVE}'"
