"""What the databases say about lag: who reads what and how far, outboxes, held partitions, running replays.

Connections are read-only and stay open between two readings; one statement per database and reading.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from chassis.outbox.table import REFUSED
from fanout.databases import Databases, errors_of
from fanout.kafka_admin import Partition
from fanout.replay.state import ADVISORY_LOCK

ANSWER_SECONDS = 2.0
SETTINGS = {
    "application_name": "fanout-lag",
    "default_transaction_read_only": "on",
    "statement_timeout": f"{ANSWER_SECONDS:g}s",
    "idle_session_timeout": "0",
    "jit": "off",
}


@dataclass(frozen=True, slots=True)
class StoredPosition:
    """What a consumer's database says about one partition: everything before `next_offset` is processed."""

    next_offset: int
    topic_id: UUID | None
    lost: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Outbox:
    """Rows that are not yet in Kafka, the age of the oldest (None without any), and rows that cannot be sent."""

    service: str
    unsent: int
    oldest_seconds: float | None
    set_aside: int


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """`positions` and `held` are keyed by consumer and partition, `listening` are pairs of consumer and topic."""

    service: str
    outbox: Outbox
    listening: frozenset[tuple[str, str]]
    positions: Mapping[tuple[str, Partition], StoredPosition]
    held: Mapping[tuple[str, Partition], str]
    is_replaying: bool


class ServiceDatabases:
    """Connections to databases of services, opened when first used and again after an error."""

    def __init__(self, databases: Databases) -> None:
        self._urls = databases
        self._open: dict[str, asyncpg.Connection] = {}

    def close(self) -> None:
        for service in list(self._open):
            self._open.pop(service).terminate()

    async def facts(self, service: str, count_up_to: int | None = None) -> ServiceFacts:
        """Raises Unreachable, or FanoutError if the database refuses. Counts rows to send up to `count_up_to`."""
        [row] = await self.rows(service, FACTS, count_up_to)
        found = json.loads(row["facts"])
        return ServiceFacts(
            service,
            Outbox(service, found["unsent"], found["oldest_seconds"], found["set_aside"]),
            frozenset((consumer, topic) for consumer, topic in found["listening"]),
            {
                (consumer, (topic, partition)): StoredPosition(
                    next_offset, UUID(topic_id) if topic_id else None, lost, duplicates
                )
                for consumer, topic, partition, next_offset, topic_id, lost, duplicates in found["positions"]
            },
            {(consumer, (topic, partition)): error for consumer, topic, partition, error in found["held"]},
            found["is_replaying"],
        )

    async def rows(self, service: str, statement: str, *values: object) -> list[Any]:
        """Returns the rows of a statement. Raises Unreachable, or FanoutError if the database refuses."""
        url = self._urls[service]
        with errors_of(service, url):
            try:
                if service not in self._open:
                    self._open[service] = await asyncpg.connect(
                        url.replace("+asyncpg", ""), timeout=ANSWER_SECONDS, server_settings=SETTINGS
                    )
                return list(await self._open[service].fetch(statement, *values, timeout=ANSWER_SECONDS + 1))
            except BaseException:
                if broken := self._open.pop(service, None):
                    broken.terminate()
                raise


FACTS = f"""
    SELECT json_build_object(
        'unsent', (SELECT count(*) FROM (
            SELECT FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL LIMIT $1::bigint) AS counted),
        'oldest_seconds', (
            SELECT extract(epoch FROM clock_timestamp() - created_at) FROM outbox
            WHERE published_at IS NULL AND set_aside_at IS NULL ORDER BY id LIMIT 1),
        'set_aside', (SELECT count(*) FROM outbox WHERE {REFUSED}),
        'listening', (SELECT coalesce(json_agg(DISTINCT jsonb_build_array(consumer, topic)), '[]') FROM subscriptions),
        'positions', (
            SELECT coalesce(json_agg(json_build_array(
                consumer, topic, partition, next_offset, topic_id, lost, duplicates)), '[]')
            FROM consumer_offsets),
        'held', (
            SELECT coalesce(json_agg(json_build_array(consumer, topic, partition, error)), '[]')
            FROM held_partitions),
        'is_replaying', EXISTS (
            SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
            WHERE locktype = 'advisory' AND datname = current_database() AND granted
                AND (classid::bigint << 32 | objid::bigint) = {ADVISORY_LOCK})
    ) AS facts
"""
