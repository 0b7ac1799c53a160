"""Sets rows aside that cannot be sent, so that they stop no others, and retries those that can be sent later."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import asyncpg
import structlog

from chassis.events.registry import Registry, SchemaNotRegistered
from chassis.outbox.framing import Written, schema_ids
from chassis.outbox.outcome import UNKNOWN_TOPIC, Refused
from chassis.outbox.producer import OrderedProducer
from chassis.outbox.producer_config import LIFETIME_SECONDS

MESSAGE_LIMIT = 512
NOT_REGISTERED = SchemaNotRegistered.__name__

log = structlog.get_logger()


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


async def retry_topics(connection: asyncpg.Connection, producer: OrderedProducer) -> None:
    """Makes rows unsent again whose topic exists now. Raises KafkaException while Kafka is unavailable."""
    missing = {row["topic"] for row in await connection.fetch(MISSING_TOPICS, UNKNOWN_TOPIC)}
    created = missing and missing & await asyncio.to_thread(_topics, producer)
    if created:
        _log_retried(await connection.execute(RETRY_TOPICS, UNKNOWN_TOPIC, list(created)))


async def retry_schemas(connection: asyncpg.Connection, registry: Registry) -> None:
    """Makes rows unsent again whose schema is registered now. Raises RegistryUnavailable."""
    missing = [Written(*row) for row in await connection.fetch(MISSING_SCHEMAS, NOT_REGISTERED)]
    ids = await schema_ids(missing, registry)
    if registered := [each for each in missing if isinstance(ids[each], int)]:
        columns = [list(column) for column in zip(*registered, strict=True)]
        _log_retried(await connection.execute(RETRY_SCHEMAS, NOT_REGISTERED, *columns))


def _log_retried(status: str) -> None:
    if rows := int(status.split()[-1]):
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
RETRY_TOPICS = """
    UPDATE outbox SET set_aside_at = NULL, error_type = NULL, error_message = NULL
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL AND error_type = $1 AND topic = ANY ($2)
"""
MISSING_SCHEMAS = """
    SELECT DISTINCT topic, type, schema_version FROM outbox
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL AND error_type = $1
"""
RETRY_SCHEMAS = """
    UPDATE outbox SET set_aside_at = NULL, error_type = NULL, error_message = NULL
    FROM unnest($2::text[], $3::text[], $4::int[]) AS registered (topic, type, schema_version)
    WHERE set_aside_at IS NOT NULL AND discarded_at IS NULL AND error_type = $1
        AND outbox.topic = registered.topic AND outbox.type = registered.type
        AND outbox.schema_version = registered.schema_version
"""
