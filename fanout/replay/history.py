"""Refuses to empty a read model when Kafka no longer holds what the outboxes say was published.

After Kafka's data was deleted its topics begin at offset 0 again: nothing seems to be missing, and a rebuild would
leave the tables empty.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
from fanout.console import counted
from fanout.databases import Databases, read_each
from fanout.errors import BadUsage
from fanout.replay.plan import Plan


@dataclass(frozen=True, slots=True)
class Held:
    """Of one topic: how many events were published, and how many of them Kafka no longer has."""

    topic: str
    published: int
    gone: int
    gone_since: datetime | None
    """When the first of them was sent."""


async def require_history_in_kafka(
    databases: Databases, service: Service, plan: Plan, ids: Mapping[str, UUID], sent_before: datetime
) -> None:
    """Raises BadUsage, with the commands that help, if events that the plan is to read are not in Kafka.

    `ids` are those of the topics as they are now. Rows sent after `sent_before` may lie behind the end of the plan.
    """
    types: dict[str, list[str]] = {}
    for event_type in service.handlers:
        types.setdefault(event_type.TOPIC, []).append(event_type.NAME)
    found = [
        await held(databases, topic, names, plan, ids.get(topic), sent_before)
        for topic, names in types.items()
    ]
    gone = sum(each.gone for each in found)
    if gone:
        published = sum(each.published for each in found)
        raise BadUsage(
            f"Kafka no longer has {gone:,} of {counted(published, 'event')} that {service.name} would be rebuilt from; "
            f"the outboxes have them: {', '.join(_commands(found))}, then try again, or --from a later time"
        )


async def held(
    databases: Databases,
    topic: str,
    types: Sequence[str],
    plan: Plan,
    topic_id: UUID | None,
    sent_before: datetime,
) -> Held:
    ends = {number: end for (name, number), end in plan.ends.items() if name == topic}
    values = {
        "topic": topic,
        "types": list(types),
        "since": plan.since,
        "before": sent_before,
        "topic_id": topic_id,
        "partitions": list(ends),
        "ends": list(ends.values()),
    }

    async def count(_: str, db: AsyncConnection) -> tuple[int, int, datetime | None]:
        row = (await db.execute(_HELD, values)).one()
        return row.published, row.gone, row.gone_since

    found = await read_each(databases, count)
    return Held(
        topic,
        sum(published for published, _, _ in found),
        sum(gone for _, gone, _ in found),
        min((since for _, _, since in found if since), default=None),
    )


def _commands(found: Sequence[Held]) -> Iterator[str]:
    for each in found:
        if each.gone_since:
            since = each.gone_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            yield f"fanout resend --topic {each.topic} --since {since}"


# A row of an earlier release has no topic id, so only its offset tells.
_HELD = text("""
    SELECT count(*) AS published, count(*) FILTER (WHERE gone) AS gone,
        min(published_at) FILTER (WHERE gone) AS gone_since
    FROM (
        SELECT published_at, topic_id <> CAST(:topic_id AS uuid) IS TRUE
            OR coalesce(kafka_offset >= ends.position, true) AS gone
        FROM outbox LEFT JOIN unnest(CAST(:partitions AS int[]), CAST(:ends AS bigint[])) AS ends (partition, position)
            ON kafka_partition = ends.partition
        WHERE topic = :topic AND type = ANY (:types) AND published_at < :before AND discarded_at IS NULL
            AND (CAST(:since AS timestamptz) IS NULL OR created_at >= :since)
    ) AS sent
""")
