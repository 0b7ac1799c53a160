"""Lets Postgres add up hashes of event ids by range, so that only what differs is fetched; and fetches that.

Two sums of 64-bit hashes with different seeds, and the count, are equal on both sides only if the sets of ids are.
"""

from collections.abc import Sequence
from uuid import UUID

from fanout.verify.ranges import IdRange
from fanout.verify.records import Published, Receipt, ReceiptSum, Slice
from fanout.verify.snapshot import Snapshot


async def outbox_slices(
    snapshot: Snapshot, ranges: Sequence[IdRange], first_row: int = 0
) -> dict[IdRange, list[Slice]]:
    """Returns the sums of all events in the outbox, or of its rows from `first_row` on, by range."""
    return await _slices(snapshot, ranges, _FROM_ROW, first_row)


async def slices_within(
    snapshot: Snapshot, whole: IdRange, ranges: Sequence[IdRange], slices: Sequence[Slice]
) -> dict[IdRange, list[Slice]]:
    """Returns the sums again for smaller ranges. `slices`: the sums of the whole range in this outbox."""
    rows = _rows_of(slices)
    return await _slices(snapshot, ranges, _OF_RANGE, *rows, *whole.bounds)


async def _slices(
    snapshot: Snapshot, ranges: Sequence[IdRange], where: str, *values: object
) -> dict[IdRange, list[Slice]]:
    found: dict[IdRange, list[Slice]] = {each: [] for each in ranges}
    sql = _SLICES.format(where=where)
    for row in await snapshot.fetch(sql, *_thresholds(ranges), *values):
        if (each := _range_of(row["bucket"], ranges)) is not None:
            topic, type_name, partition, topic_id, _, events, first, second, *rest = row
            one = Slice(
                snapshot.service,
                topic,
                type_name,
                partition,
                topic_id,
                events,
                int(first),
                int(second),
                *rest,
            )
            found[each].append(one)
    return found


async def receipt_sums(
    snapshot: Snapshot, consumer: str, ranges: Sequence[IdRange], whole: IdRange | None = None
) -> dict[IdRange, ReceiptSum]:
    """Returns the sums of a consumer's receipts by range, of all or only of those in `whole`."""
    where, values = (_ANY_ROW, ()) if whole is None else (_RECEIPTS_OF_RANGE, whole.bounds)
    found: dict[IdRange, ReceiptSum] = {}
    for row in await snapshot.fetch(
        _RECEIPT_SUMS.format(where=where), *_thresholds(ranges), consumer, *values
    ):
        if (each := _range_of(row["bucket"], ranges)) is not None:
            _, receipts, parked, first, second, last_at = row
            found[each] = ReceiptSum(receipts, parked, int(first), int(second), last_at)
    return found


async def published_in(snapshot: Snapshot, whole: IdRange, slices: Sequence[Slice]) -> list[Published]:
    """Returns the events of a range one by one. `slices`: the sums of the range in this outbox."""
    rows = await snapshot.fetch(_PUBLISHED, *_rows_of(slices), *whole.bounds, whole.timed)
    return [Published(row[0], snapshot.service, *tuple(row)[1:]) for row in rows]


async def orders_in(snapshot: Snapshot, whole: IdRange, slices: Sequence[Slice]) -> set[int]:
    """Returns hashes of the orders of the events that are summed up in these slices."""
    types = list({each.type for each in slices})
    rows = await snapshot.fetch(_ORDERS, *_rows_of(slices), *whole.bounds, whole.timed, types)
    return {row[0] for row in rows}


async def receipts_in(snapshot: Snapshot, consumer: str, whole: IdRange) -> list[Receipt]:
    rows = await snapshot.fetch(_RECEIPTS, consumer, *whole.bounds, whole.timed)
    return [Receipt(*row.values()) for row in rows]


def _thresholds(ranges: Sequence[IdRange]) -> tuple[list[UUID], bool]:
    timed = ranges[-1].timed
    return [UUID(int=each.first) for each in ranges if each.timed == timed], timed


def _range_of(bucket: int, ranges: Sequence[IdRange]) -> IdRange | None:
    """Bucket 0 has the ids of the other kind: they have the first range, if there is one for them."""
    has_other = ranges[0].timed != ranges[-1].timed
    if bucket:
        return ranges[bucket - 1 + has_other]
    return ranges[0] if has_other else None


def _rows_of(slices: Sequence[Slice]) -> tuple[int, int]:
    return min(each.first_id for each in slices), max(each.last_id for each in slices)


_IS_TIMED = "(get_byte(uuid_send(event_id), 6) >> 4 = 7)"
_BUCKET = f"CASE WHEN {_IS_TIMED} = $2 THEN width_bucket(event_id, $1::uuid[]) ELSE 0 END AS bucket"
_SUMS = (
    "sum(uuid_hash_extended(event_id, 1)) AS first_hash, sum(uuid_hash_extended(event_id, 2)) AS second_hash"
)
_AN_EVENT = "aggregate_id IS NOT NULL AND discarded_at IS NULL"
_ANY_ROW = "true"
_FROM_ROW = "id >= $3"
_OF_RANGE = "id BETWEEN $3 AND $4 AND event_id BETWEEN $5 AND $6"
_RECEIPTS_OF_RANGE = "event_id BETWEEN $4 AND $5"
_SLICES = f"""
    SELECT topic, type, kafka_partition, topic_id, {_BUCKET}, count(*) AS events, {_SUMS},
        min(kafka_offset), max(kafka_offset), min(id), max(id), min(created_at), min(published_at)
    FROM outbox WHERE {_AN_EVENT} AND {{where}} GROUP BY 1, 2, 3, 4, 5
"""
_RECEIPT_SUMS = f"""
    SELECT {_BUCKET}, count(*) AS receipts, count(*) FILTER (WHERE status = 'parked') AS parked,
        {_SUMS}, max(received_at)
    FROM inbox WHERE consumer = $3 AND {{where}} GROUP BY 1
"""
_PUBLISHED = f"""
    SELECT event_id, id, topic, type, aggregate_id, hashtextextended(aggregate_id, 0), kafka_partition, kafka_offset,
        topic_id, created_at, published_at
    FROM outbox
    WHERE {_AN_EVENT} AND id BETWEEN $1 AND $2 AND event_id BETWEEN $3 AND $4 AND {_IS_TIMED} = $5
"""
_ORDERS = f"""
    SELECT DISTINCT hashtextextended(aggregate_id, 0) FROM outbox
    WHERE {_AN_EVENT} AND id BETWEEN $1 AND $2 AND event_id BETWEEN $3 AND $4 AND {_IS_TIMED} = $5 AND type = ANY($6)
"""
_RECEIPTS = f"""
    SELECT event_id, status = 'parked', redrive, received_at FROM inbox
    WHERE consumer = $1 AND event_id BETWEEN $2 AND $3 AND {_IS_TIMED} = $4
"""
