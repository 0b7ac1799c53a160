"""Deletes the rows of a table that are over, range by range of an index, so that no range is read twice in a purge."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database

ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Retention:
    """Says which rows of a table are over: those with `over`, in which `:before` is the time of the cutoff.

    `key` is an indexed column by which the table is read. If it is a UUIDv7, it carries its time, and only keys from
    before the cutoff are read. For any other key, `made_at` names a column that grows with it: reading ends where a
    whole range was made after the cutoff.
    `deletes`: the conditions of what goes in one transaction, by table; `old` has the keys of what is over. By default
    the rows that are over. Conditions compare with an array: a join may be planned as a loop over both sides.
    `each`: a column before `key` in its index. `within`: the condition of the index, if it is partial.
    `counted`: which of the deleted rows `purges.purged` counts, if not all.
    """

    table: str
    key: str
    over: str
    made_at: str | None = None
    deletes: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    within: str = "true"
    counted: str = "true"


async def delete(
    database: Database,
    retention: Retention,
    cutoff: datetime,
    complete_since: datetime,
    stop: asyncio.Event,
) -> AsyncIterator[dict[str, int]]:
    """Deletes what was over before `cutoff`, and yields the number of rows by table after each transaction.

    Stores `complete_since` in `purges` if anything was deleted. Rows that another worker is deleting are skipped.
    """
    statements = _Statements(retention, cutoff)
    group: Any = None
    while not stop.is_set():
        async with database.transaction() as db:
            if retention.each and (group := await statements.next_group(db, group)) is None:
                return
        after: Any = None
        while not stop.is_set():
            async with database.transaction() as db:
                place = {"group": group, "after": after}
                if (last := await statements.end_of_range(db, place)) is None:
                    break
                yield await statements.delete(db, place | {"last": last}, complete_since)
            after = last
        if not retention.each:
            return


class _Statements:
    def __init__(self, retention: Retention, cutoff: datetime) -> None:
        self._retention = retention
        self._cutoff = cutoff

    async def next_group(self, db: AsyncConnection, group: Any) -> Any:
        """Returns the first value of the column `each` after `group`, or None."""
        each, table = self._retention.each, self._retention.table
        after = "true" if group is None else f"{each} > :group"
        first = text(f"SELECT {each} FROM {table} WHERE {after} ORDER BY {each} LIMIT 1")
        return await db.scalar(first, {} if group is None else {"group": group})

    async def end_of_range(self, db: AsyncConnection, place: Mapping[str, Any]) -> Any:
        """Returns the last key of the next range, or None if the rest is too young."""
        it = self._retention
        old = "true" if it.made_at is None else f"{it.made_at} < :before"
        statement = f"""
            SELECT key FROM (SELECT key, bool_or(old) OVER () AS has_old FROM (
                SELECT {it.key} AS key, {old} AS old FROM {it.table}
                WHERE {self._conditions(place)} ORDER BY {it.key} LIMIT {ROWS_AT_ONCE}
            ) AS range) AS range
            WHERE has_old ORDER BY key DESC LIMIT 1
        """
        return await db.scalar(text(statement), self._given(statement, place))

    async def delete(
        self, db: AsyncConnection, place: Mapping[str, Any], complete_since: datetime
    ) -> dict[str, int]:
        """Deletes what is over in the range after `place["after"]` up to `place["last"]`."""
        it = self._retention
        within = f"{self._conditions(place)} AND {it.key} <= :last"
        deletes = it.deletes or {it.table: "ctid = ANY(ARRAY(SELECT place FROM old))"}
        deleted = ", ".join(
            f"deleted_{table} AS (DELETE FROM {table} WHERE {condition} RETURNING {it.counted} AS counted)"
            for table, condition in deletes.items()
        )
        counts = " UNION ALL ".join(
            f"SELECT '{table}', count(*), count(*) FILTER (WHERE counted) FROM deleted_{table}"
            for table in deletes
        )
        statement = f"""
            WITH old AS (
                SELECT {it.key}, ctid AS place FROM {it.table} WHERE {within} AND ({it.over}) FOR UPDATE SKIP LOCKED
            ), {deleted}, counts (what, rows, counted) AS ({counts}),
            recorded AS (
                INSERT INTO purges AS earlier (what, before, purged)
                SELECT what, CAST(:complete_since AS timestamptz), counted FROM counts WHERE rows > 0 ORDER BY what
                ON CONFLICT (what) DO UPDATE SET
                    before = greatest(earlier.before, excluded.before), purged = earlier.purged + excluded.purged
            )
            SELECT what, rows FROM counts WHERE rows > 0
        """
        given = self._given(statement, {**place, "complete_since": complete_since})
        found = await db.execute(text(statement), given)
        return {row.what: row.rows for row in found}

    def _conditions(self, place: Mapping[str, Any]) -> str:
        it = self._retention
        conditions = [it.within]
        if it.each:
            conditions.append(f"{it.each} = :group")
        if place["after"] is not None:
            conditions.append(f"{it.key} > :after")
        if it.made_at is None:
            conditions.append(f"{it.key} < '{first_id(self._cutoff)}'")
        return " AND ".join(conditions)

    def _given(self, statement: str, values: Mapping[str, Any]) -> dict[str, Any]:
        every = {**values, "before": self._cutoff}
        return {name: value for name, value in every.items() if f":{name}" in statement}


def has_no_time(column: str) -> str:
    """Returns the SQL condition of ids that are no UUIDv7; other producers may give such."""
    return f"substr({column}::text, 15, 1) <> '7'"


def first_id(at: datetime) -> str:
    """Returns the smallest UUIDv7 of this time (RFC 9562)."""
    digits = f"{int(at.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
