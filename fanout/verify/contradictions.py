"""Finds rows that contradict each other within one database, whatever the other databases say."""

from collections.abc import Sequence

from fanout.databases import at_once
from fanout.verify.invariants import Verdict
from fanout.verify.snapshot import Pass, Snapshot

SENT_WITHOUT_OFFSET = "every row that was sent has the offset that Kafka gave it"
OFFSETS_RISE = "in each partition, offsets are different and rise in the order in which rows were sent"
PARKED_RECEIPTS = (
    "every receipt of a parked event has its parked message, and every parked message its receipt"
)
GRACE_SECONDS = 30
"""A row is marked as sent together with its offset; one that is not has been changed by hand or by a bug."""
NAMED = 1_000


async def contradictions(second: Pass) -> list[Verdict]:
    """Each query reads one snapshot, in which rows of one transaction are together or not at all."""
    found = await at_once(_of_service(snapshot) for snapshot in second.values())
    return [
        Verdict(sentence, [offender for of_service in found for offender in of_service[sentence]])
        for sentence in _QUERIES
    ]


async def _of_service(snapshot: Snapshot) -> dict[str, Sequence[str]]:
    return {
        sentence: [f"{row[0]} ({snapshot.service})" for sql in queries for row in await snapshot.fetch(sql)]
        for sentence, queries in _QUERIES.items()
    }


_WITHOUT_OFFSET = f"""
    SELECT 'outbox row ' || id FROM outbox
    WHERE published_at < clock_timestamp() - interval '{GRACE_SECONDS} seconds'
        AND (kafka_offset IS NULL OR kafka_partition IS NULL OR kafka_offset < 0)
    ORDER BY id LIMIT {NAMED}
"""
# A row that is sent again is the later one by time and the earlier one by id, so both have to contradict the offsets.
_OFFSETS = f"""
    SELECT format('%s[%s] at %s: outbox rows %s and %s', topic, kafka_partition, kafka_offset, id_before, id) FROM (
        SELECT topic, kafka_partition, kafka_offset, id, published_at, lag(id) OVER in_order AS id_before,
            lag(kafka_offset) OVER in_order AS offset_before, lag(published_at) OVER in_order AS published_before
        FROM outbox WHERE kafka_offset IS NOT NULL
        WINDOW in_order AS (PARTITION BY topic, topic_id, kafka_partition ORDER BY kafka_offset)
    ) AS pairs
    WHERE kafka_offset = offset_before OR (id < id_before AND published_at < published_before)
    LIMIT {NAMED}
"""
_NO_PARKED = f"""
    SELECT format('receipt %s of %s', event_id, consumer) FROM inbox LEFT JOIN parked USING (consumer, event_id)
    WHERE status = 'parked' AND parked.id IS NULL
        AND received_at >= coalesce((SELECT max(before) FROM purges WHERE what IN ('parked', 'inbox')), '-infinity')
    LIMIT {NAMED}
"""
_NO_RECEIPT = f"""
    SELECT format('parked message %s of %s', parked.id, consumer)
    FROM parked LEFT JOIN inbox USING (consumer, event_id)
    WHERE event_id IS NOT NULL AND inbox.event_id IS NULL
        AND last_failed_at >= coalesce((SELECT before FROM purges WHERE what = 'inbox'), '-infinity')
    LIMIT {NAMED}
"""
_QUERIES = {
    SENT_WITHOUT_OFFSET: [_WITHOUT_OFFSET],
    OFFSETS_RISE: [_OFFSETS],
    PARKED_RECEIPTS: [_NO_PARKED, _NO_RECEIPT],
}
