"""Sets rows aside that cannot be sent, so that they stop no others, and retries those that can be sent later."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import asyncpg
import structlog

from chassis.outbox.outcome import UNKNOWN_TOPIC, Refused
from chassis.outbox.producer import OrderedProducer
from chassis.outbox.producer_config import LIFETIME_SECONDS

MESSAGE_LIMIT = 512
NOT_KNOWN_YET = ["SchemaNotRegistered", "UnknownEventType"]
"""Errors of rows that a newer release wrote, or whose schema the set-up has not registered yet."""

log = structlog.get_logger()


class UnknownEventType(Exception):
    """The row was written by a release that has an event type which this one has not."""


async def set_rows_aside(connection: asyncpg.Connection, refused: Sequence[Refused]) -> None:
    """Marks the rows. Later events of the same topic and key wait for them; all other rows are still sent."""
    messages = [row.error_message.replace("\x00", "")[:MESSAGE_LIMIT] for row in refused]
    await connection.execute(
        SET_ASIDE, [row.id for row in refused], [row.error_type for row in refused], messages
    )
    for (topic, error_type), rows in Counter((row.topic, row.error_type) for row in refused).items():
        first = next(row for row in refused if (row.topic, row.error_type) == (topic, error_type))
        what = {"topic": topic, "error_type": error_type, "error": first.error_message[:300]}
        log.error("rows_set_aside", **what, rows=rows, first_id=first.id)


async def retry_rows(connection: asyncpg.Connection, producer: OrderedProducer) -> None:
    """Makes rows unsent again whose topic exists now, or whose schema may be known now.

    Raises KafkaException while Kafka is unavailable.
    """
    missing = {row["topic"] for row in await connection.fetch(MISSING_TOPICS, UNKNOWN_TOPIC)}
    created = missing and missing & await asyncio.to_thread(_topics, producer)
    done: str = await connection.execute(RETRY, NOT_KNOWN_YET, UNKNOWN_TOPIC, list(created))
    if rows := int(done.split()[-1]):
        log.info("rows_retried", rows=rows)


def _topics(producer: OrderedProducer) -> set[str]:
    return set(producer.connect().list_topics(timeout=LIFETIME_SECONDS).topics)


SET_ASIDE = """
    UPDATE outbox SET set_aside_at = clock_timestamp(), error_type = refused.type, error_message = refused.message
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS refused (id, type, message) WHERE outbox.id = refused.id
"""
MISSING_TOPICS = """
    SELECT DISTINCT topic FROM outbox
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL AND error_type = $1
"""
RETRY = """
    UPDATE outbox SET set_aside_at = NULL, error_type = NULL, error_message = NULL
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL
        AND (error_type = ANY ($1) OR error_type = $2 AND topic = ANY ($3))
"""
