"""The outbox as the relay sees it: the next rows to send, and what is written down about them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import asyncpg

from chassis.outbox.outcome import UNKNOWN_TOPIC, Refused, Sent

BATCH = 1_000
BATCH_BYTES = 2**23
MESSAGE_LIMIT = 512
COUNTED = 10_000

# A thousand dead letters can be a gigabyte. One row there is always, however large.
NEXT_ROWS = """
    SELECT * FROM (
        SELECT id, topic, type, key, payload, schema_version, headers,
            coalesce(sum(coalesce(octet_length(payload), 0) + octet_length(headers)) OVER before_it, 0) AS bytes_before
        FROM outbox AS next WHERE published_at IS NULL AND set_aside_at IS NULL AND NOT EXISTS (
            SELECT FROM outbox AS refused WHERE refused.set_aside_at IS NOT NULL AND refused.discarded_at IS NULL
                AND refused.key = next.key AND refused.topic = next.topic AND refused.id < next.id
                AND refused.topic NOT LIKE '%.dlq'
        )
        WINDOW before_it AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ORDER BY id LIMIT $1
    ) AS unsent
    WHERE bytes_before < $2 ORDER BY id
"""
MARK_SENT = """
    UPDATE outbox SET published_at = clock_timestamp(), kafka_partition = sent.partition, kafka_offset = sent.position
    FROM unnest($1::bigint[], $2::int[], $3::bigint[]) AS sent (id, partition, position) WHERE outbox.id = sent.id
"""
SET_ASIDE = """
    UPDATE outbox SET set_aside_at = clock_timestamp(), error_type = refused.type, error_message = refused.message
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS refused (id, type, message) WHERE outbox.id = refused.id
"""
WITHOUT_TOPIC = """
    SELECT DISTINCT topic FROM outbox
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL AND error_type = $1
"""
TRY_AGAIN = """
    UPDATE outbox SET set_aside_at = NULL, error_type = NULL, error_message = NULL
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL
        AND (error_type = ANY ($1) OR error_type = $2 AND topic = ANY ($3))
"""
MEASURE = f"""
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL LIMIT {COUNTED}
        ) AS waiting) AS unsent,
        (SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM outbox
            WHERE published_at IS NULL AND set_aside_at IS NULL ORDER BY id LIMIT 1) AS oldest_unsent_seconds,
        (SELECT count(*) FROM (
            SELECT FROM outbox WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL LIMIT {COUNTED}
        ) AS refused) AS set_aside
"""

NOT_KNOWN_YET = ("SchemaNotRegistered", "UnknownEventType")
"""Rows of a release that is newer than this relay, or than the last set-up."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows to send, counted up to `COUNTED`, the age of the oldest, and rows that cannot be sent."""

    unsent: int = 0
    oldest_unsent_seconds: float = 0.0
    set_aside: int = 0


async def next_rows(connection: asyncpg.Connection) -> tuple[list[asyncpg.Record], bool]:
    """Returns the rows to send next, in their order, and whether the batch is full, so that there may be more."""
    rows: list[asyncpg.Record] = await connection.fetch(NEXT_ROWS, BATCH, BATCH_BYTES)
    if not rows:
        return rows, False
    last = rows[-1]
    size = last["bytes_before"] + len(last["payload"] or b"") + len(last["headers"])
    return rows, len(rows) == BATCH or size >= BATCH_BYTES


async def mark_sent(connection: asyncpg.Connection, sent: Sequence[Sent]) -> None:
    columns = [[row.id for row in sent], [row.partition for row in sent], [row.offset for row in sent]]
    await connection.execute(MARK_SENT, *columns)


async def set_aside(connection: asyncpg.Connection, refused: Sequence[Refused]) -> None:
    """Later events of the same topic and key wait behind such a row; everything else passes it."""
    messages = [row.error_message.replace("\x00", "")[:MESSAGE_LIMIT] for row in refused]
    columns = [[row.id for row in refused], [row.error_type for row in refused], messages]
    await connection.execute(SET_ASIDE, *columns)


async def topics_missed(connection: asyncpg.Connection) -> set[str]:
    """Returns the topics that rows were set aside for because Kafka did not have them."""
    return {row["topic"] for row in await connection.fetch(WITHOUT_TOPIC, UNKNOWN_TOPIC)}


async def try_again(connection: asyncpg.Connection, topics: Collection[str]) -> int:
    """Takes back rows whose topic exists by now, or whose schema may be known by now; returns how many."""
    done: str = await connection.execute(TRY_AGAIN, list(NOT_KNOWN_YET), UNKNOWN_TOPIC, list(topics))
    return int(done.split()[-1])


async def measure(connection: asyncpg.Connection) -> Backlog:
    row = await connection.fetchrow(MEASURE)
    return Backlog(row["unsent"], max(row["oldest_unsent_seconds"] or 0.0, 0.0), row["set_aside"])
