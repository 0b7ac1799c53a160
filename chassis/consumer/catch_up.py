"""Reads events again that an earlier release ignored (ignored.py), once this release handles their type.

When partitions are assigned, each one with such events is read from the first of them on; the inbox drops what was
applied since. In this order, so that a crash at any point loses nothing:

1. the client is set back, and the group's offset in Kafka. Until the next step the rows are still there.
2. one transaction lowers the offset in the database and deletes the rows, unless a row has changed meanwhile: then a
   worker of the earlier release ignores events again, and the next assignment sets it back once more.

A partition is not set back if the inbox no longer has every row from then on: events would be applied twice. Then the
row stays, and `fanout verify` and `fanout lag` name it. The row of a type that this release knows and does not handle
is deleted, as for every type without a handler.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.offsets import Partition
from chassis.database import Database, driver
from chassis.events.record import EVENT_TYPES
from chassis.retention import complete_since

MARGIN = timedelta(days=1)
"""The inbox must reach back further by so much: it is purged on while events are read again, and an event may have been
sent twice, hours apart."""

ROWS = """
    SELECT topic, partition, type, first_offset, first_at, updated_at FROM ignored_events WHERE consumer = $1
    ORDER BY topic, partition, type
"""
DELETE = """
    DELETE FROM ignored_events
    USING unnest($2::text[], $3::int[], $4::text[], $5::timestamptz[]) AS done (topic, partition, type, at)
    WHERE consumer = $1 AND ignored_events.topic = done.topic AND ignored_events.partition = done.partition
        AND ignored_events.type = done.type AND ignored_events.updated_at = done.at
"""
LOWER = """
    UPDATE consumer_offsets SET next_offset = least(consumer_offsets.next_offset, begun.next_offset)
    FROM unnest($2::text[], $3::int[], $4::bigint[]) AS begun (topic, partition, next_offset)
    WHERE consumer = $1 AND consumer_offsets.topic = begun.topic AND consumer_offsets.partition = begun.partition
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IgnoredRange:
    """A row of `ignored_events`, as it was when it was read."""

    partition: Partition
    type: str
    first_offset: int
    first_at: datetime
    updated_at: datetime


class CatchUp:
    """Finds what one consumer has to read again, and begins with it. `handled`: the types that have a handler."""

    def __init__(self, consumer: str, database: Database, handled: Collection[str]) -> None:
        self._consumer = consumer
        self._database = database
        self._handled = handled

    async def find(self, assigned: Iterable[Partition]) -> list[IgnoredRange]:
        """Returns what has to be read again, and can be; deletes rows of types without a handler."""
        partitions = set(assigned)
        async with self._database.transaction() as db:
            rows = [
                IgnoredRange((row["topic"], row["partition"]), *list(row.values())[2:])
                for row in await driver(db).fetch(ROWS, self._consumer)
            ]
            mine = [row for row in rows if row.partition in partitions]
            unhandled = [row for row in mine if row.type in EVENT_TYPES and row.type not in self._handled]
            await self._delete(db, unhandled)
            inbox_since = await complete_since(db, "inbox")
        return [row for row in mine if row.type in self._handled and _can_be_read_again(row, inbox_since)]

    async def begin(self, found: Sequence[IgnoredRange], begins: Mapping[Partition, int]) -> None:
        """Lowers the offsets and deletes the rows. The group's offsets in Kafka have been set back before."""
        async with self._database.transaction() as db:
            await driver(db).execute(LOWER, self._consumer, *_columns((*at, n) for at, n in begins.items()))
            await self._delete(db, found)
        for (topic, number), offset in begins.items():
            types = sorted(row.type for row in found if row.partition == (topic, number))
            log.info("catching_up", topic=topic, partition=number, offset=offset, types=types)

    async def _delete(self, db: AsyncConnection, rows: Sequence[IgnoredRange]) -> None:
        if rows:
            columns = _columns((*row.partition, row.type, row.updated_at) for row in rows)
            await driver(db).execute(DELETE, self._consumer, *columns)


def first_offsets(found: Iterable[IgnoredRange]) -> Mapping[Partition, int]:
    """Returns where each partition has to be read from."""
    offsets: dict[Partition, int] = {}
    for row in found:
        offsets[row.partition] = min(offsets.get(row.partition, row.first_offset), row.first_offset)
    return offsets


def _can_be_read_again(row: IgnoredRange, inbox_since: datetime | None) -> bool:
    if inbox_since is None or inbox_since + MARGIN <= row.first_at:
        return True
    topic, number = row.partition
    log.error(
        "catch_up_refused",
        topic=topic,
        partition=number,
        type=row.type,
        offset=row.first_offset,
        reason=f"the inbox was purged up to {inbox_since}, so events since {row.first_at} could be applied twice",
        remedy="apply what is missing by hand or by `fanout replay --from`, then delete the row of ignored_events",
    )
    return False


def _columns(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
