"""Finds the offsets of a topic that no row of its service's outbox has: only there can be records that it lacks.

A record sent twice, one of another producer and one whose row was deleted leave such a hole, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import text

from fanout.databases import snapshot
from fanout.kafka_reader import TIMEOUT

NEAR = 1_000
"""Holes that lie closer together are read in one go."""


class Hole(NamedTuple):
    """Offsets from `start` up to, and without, `end`."""

    partition: int
    start: int
    end: int


def spans_of(consumer: Consumer, topic: str) -> list[Hole]:
    """Returns the whole of each partition, as Kafka has it now; nothing for a topic that does not exist."""
    known = consumer.list_topics(timeout=TIMEOUT).topics
    numbers = sorted(known[topic].partitions) if topic in known else []
    return [
        Hole(number, *consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT))
        for number in numbers
    ]


async def holes(
    service: str, url: str, topic: str, topic_id: UUID | None, spans: Sequence[Hole]
) -> list[Hole]:
    """Returns the holes within the spans, which are to be asked for before the outbox."""
    values = {
        "topic": topic,
        "topic_id": topic_id,
        "partitions": [span.partition for span in spans],
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
    }
    async with snapshot(service, url) as db:
        return [Hole(*row) for row in await db.execute(_HOLES, values)]


def read_in_one_go(found: Sequence[Hole]) -> Iterator[Mapping[int, Hole]]:
    """Yields rounds of at most one span a partition, which together cover the holes."""
    spans: dict[int, list[Hole]] = {}
    for hole in sorted(found):
        ours = spans.setdefault(hole.partition, [])
        if ours and hole.start - ours[-1].end < NEAR:
            ours[-1] = ours[-1]._replace(end=hole.end)
        else:
            ours.append(hole)
    while any(spans.values()):
        yield {partition: ours.pop(0) for partition, ours in spans.items() if ours}


_HOLES = text("""
    WITH spans AS (
        SELECT * FROM unnest(CAST(:partitions AS int[]), CAST(:starts AS bigint[]), CAST(:ends AS bigint[]))
            AS spans (partition, first, behind)
    ), known AS (
        SELECT partition, kafka_offset AS position FROM outbox JOIN spans ON kafka_partition = partition
        WHERE topic = :topic AND kafka_offset >= first AND kafka_offset < behind
            AND topic_id <> CAST(:topic_id AS uuid) IS NOT TRUE
        UNION SELECT partition, first - 1 FROM spans
        UNION SELECT partition, behind FROM spans
    )
    SELECT partition, position + 1, next FROM (
        SELECT partition, position, lead(position) OVER (PARTITION BY partition ORDER BY position) AS next FROM known
    ) AS neighbours
    WHERE next > position + 1 ORDER BY 1, 2
""")
