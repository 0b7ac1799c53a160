"""Loads the published events into each service's database and runs the service's checks there, in one snapshot.

Why a system at work is never accused: first each database gets its snapshot, which the checks see. Then the outboxes
are read. A receipt and its effect are one transaction, so the snapshot has both or neither; and an event with a receipt
was published before, so its outbox row is read. A service's own events and its own rows are of one snapshot, too.

What is left out on both sides: orders from before a retention cutoff, some of whose rows may be gone, and orders with
an event that was published unreadable and parked, or that a newer release published.
"""

import asyncio
import gc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.consumer.subscriptions import DROPPED
from chassis.database import driver
from fanout.console import Tell
from fanout.databases import Databases, read_each, session
from fanout.errors import FanoutError
from fanout.verify.contents.event_tables import NULL, EventTable, ListTable, Published, event_tables, lines
from fanout.verify.contents.published import Unread, first_order_since, pages
from fanout.verify.invariants import Query, Verdict
from fanout.verify.records import latest
from schemas import Event

BLOCKS_WAITING = 2
LISTED = 1_000
"""So many offenders of a check are read, however many there are."""
READABLE = "every event that was applied can be read, and is the one that its outbox row names"


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one temporary table, in COPY's text format."""

    table: str
    columns: Sequence[str]
    rows: bytes


@dataclass
class Checked:
    """A service whose checks are run: its tables of events, the rows that wait for them, and what was found."""

    service: str
    checks: Sequence[Query]
    tables: Mapping[type[Event], EventTable]
    blocks: asyncio.Queue[Block | None] = field(default_factory=lambda: asyncio.Queue(BLOCKS_WAITING))
    has_snapshot: asyncio.Event = field(default_factory=asyncio.Event)
    handled: set[str] = field(default_factory=set)
    cutoff: datetime | None = None
    applied_unread: list[Unread] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @classmethod
    def by(cls, service: str, checks: Sequence[Query]) -> "Checked":
        sql = "\n".join(query.sql for query in checks)
        return cls(service, checks, {table.event_type: table for table in event_tables(sql)})


@dataclass
class Found:
    """What the outboxes say beside the events."""

    cutoff: datetime | None = None
    unread: list[Unread] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    unjudged: set[str] = field(default_factory=set)
    handled: set[str] = field(default_factory=set)
    """The types that any service handles."""
    rows: int = 0

    @property
    def first_order(self) -> str:
        return first_order_since(self.cutoff)


async def verdicts(
    databases: Databases, queries: Sequence[Query], tell: Tell = lambda text: None
) -> list[Verdict]:
    """Returns a verdict for each check of the services whose databases are given, and one on the events themselves.

    Raises Unreachable, or FanoutError for a check that Postgres refuses.
    """
    services = _checked(databases, queries)
    found = Found()
    try:
        async with asyncio.TaskGroup() as group:
            for each in services:
                group.create_task(_judge(each, databases[each.service], found, tell))
            for each in services:
                await each.has_snapshot.wait()
            with _collecting_rarely():
                await _load(databases, services, found, tell)
            for each in services:
                await each.blocks.put(None)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors.exceptions[0].__cause__
    return [_on_events(found, services), *(verdict for each in services for verdict in each.verdicts)]


def _checked(databases: Databases, queries: Sequence[Query]) -> list[Checked]:
    checks: dict[str, list[Query]] = {}
    for query in queries:
        if query.kind == "check" and query.service in databases:
            checks.setdefault(query.service, []).append(query)
    return [Checked.by(*each) for each in sorted(checks.items())]


async def _judge(it: Checked, url: str, found: Found, tell: Tell) -> None:
    async with session(it.service, url) as connection:
        db = await _snapshot(connection)
        it.handled = {row[0] for row in await db.fetch(_HANDLED, it.service)}
        it.cutoff = latest(row[0] for row in await db.fetch(_CUTOFFS, _tables_in(it)))
        for table in it.tables.values():
            await db.execute("; ".join(part.ddl for part in table.parts))
        it.has_snapshot.set()
        while block := await it.blocks.get():
            await db.copy_to_table(block.table, source=BytesIO(block.rows), columns=block.columns, null=NULL)
        await db.execute(_is_complete(latest((found.cutoff, it.cutoff)), found.unjudged))
        for table in it.tables.values():
            await _keep_what_is_known(db, it, table)
        it.applied_unread = await _applied(db, it, found.unread)
        await db.execute("SET TRANSACTION READ ONLY")
        for check in it.checks:
            tell(f"comparing contents: {check.service}: {check.title}")
            it.verdicts.append(await _run(db, check))


async def _snapshot(connection: AsyncConnection) -> asyncpg.Connection:
    """Begins the transaction. It may write, since it makes temporary tables, until the checks begin."""
    await connection.execution_options(isolation_level="REPEATABLE READ")
    for setting in _SETTINGS:
        await connection.execute(text(setting))
    return driver(connection)


def _tables_in(it: Checked) -> list[str]:
    """Returns the tables of which a purge makes checks blind; `purges` also counts others."""
    words = {word for check in it.checks for word in re.findall(r"\w+", check.sql)}
    return sorted(words | {"inbox", "outbox"})


async def _keep_what_is_known(db: asyncpg.Connection, it: Checked, table: EventTable) -> None:
    """Deletes events that this service has not applied in its snapshot or, if it only publishes them, not published.

    So the tables also lack what came after the snapshot, and what was parked.
    """
    for part in table.parts:
        await db.execute(f"ANALYZE {part.name}")
    if table.event_type.NAME in it.handled:
        deleted = await db.execute(_DELETE_NOT_APPLIED.format(table=table.name), it.service)
    else:
        deleted = await db.execute(_DELETE_NOT_PUBLISHED.format(table=table.name))
    left_out = await db.execute(f"DELETE FROM {table.name} WHERE NOT pg_temp.is_complete({table.key})")
    if {deleted, left_out} != {"DELETE 0"}:
        for each in table.lists:
            await db.execute(_DELETE_OF_DELETED.format(table=table.name, list=each.name))


async def _applied(db: asyncpg.Connection, it: Checked, unread: Iterable[Unread]) -> list[Unread]:
    """Returns which of the events this service has applied although they cannot be read."""
    asked = [each for each in unread if each.consumer in ("", it.service) and each.type in it.handled]
    ids, redrives = [each.event_id for each in asked], [each.redrive for each in asked]
    found = {tuple(row) for row in await db.fetch(_APPLIED_OF, it.service, ids, redrives)} if asked else set()
    return [each for each in asked if (each.event_id, each.redrive) in found]


def _is_complete(cutoff: datetime | None, unjudged: Iterable[str]) -> str:
    """Returns what makes the function by which a check leaves out orders whose events are not all there."""
    first = first_order_since(cutoff)
    body = f"""order_id COLLATE "C" >= {_literal(first)}"""
    if names := ", ".join(map(_literal, sorted(unjudged))):
        body += f" AND order_id <> ALL (ARRAY[{names}])"
    return (
        "CREATE FUNCTION pg_temp.is_complete(order_id text) RETURNS boolean LANGUAGE sql IMMUTABLE "
        f"RETURN {body}"
    )


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


async def _run(db: asyncpg.Connection, check: Query) -> Verdict:
    try:
        rows = await db.fetch(_OFFENDERS.format(check=check.sql))
    except (asyncpg.SyntaxOrAccessError, asyncpg.DataError) as error:
        raise FanoutError(f"services/{check.service}/checks.sql: '{check.title}': {error}") from error
    offending = rows[0][-1] if rows else 0
    listed = [str(row[0]) for row in rows]
    return Verdict(f"{check.service}: {check.title}", listed, unlisted=offending - len(listed))


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Lets Python look for reference cycles less often, which takes a quarter of the time: records have none."""
    thresholds = gc.get_threshold()
    gc.set_threshold(500_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


async def _load(databases: Databases, services: Sequence[Checked], found: Found, tell: Tell) -> None:
    """Reads all outboxes at once and hands each event to the services that have a table for it."""
    all_begun = asyncio.Barrier(len(databases))

    async def read(service: str, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT"))
        db = driver(connection)
        found.handled.update([row[0] for row in await db.fetch(_HANDLED, service)])
        cutoff = await db.fetchval(_OUTBOX_CUTOFF)
        found.cutoff = latest((found.cutoff, cutoff))
        await all_begun.wait()
        async for page in pages(db, service, found.first_order):
            found.rows += page.rows
            found.unread += page.unread
            found.misnamed += page.misnamed
            found.unjudged.update(page.of_newer_release, (each.order_id for each in page.unread))
            await asyncio.gather(*(_hand_over(*events, services) for events in page.events.items()))
            tell(f"comparing contents: {found.rows:,} events read")

    await read_each(databases, read)


async def _hand_over(
    event_type: type[Event], events: Sequence[Published], services: Sequence[Checked]
) -> None:
    """Tables with the same columns get the same rows; a redriven event is for its consumer alone."""
    for consumer, of_consumer in _by_consumer(events).items():
        alike: dict[tuple[str, ...], list[Checked]] = {}
        parts: dict[tuple[str, ...], EventTable | ListTable] = {}
        for each in services:
            if consumer in ("", each.service) and (table := each.tables.get(event_type)):
                for part in table.parts:
                    alike.setdefault((part.name, *part.columns), []).append(each)
                    parts[part.name, *part.columns] = part
        for key, part in parts.items():
            if rows := part.rows(of_consumer):
                block = Block(part.name, part.columns, lines(rows))
                await asyncio.gather(*(each.blocks.put(block) for each in alike[key]))


def _by_consumer(events: Sequence[Published]) -> Mapping[str, Sequence[Published]]:
    found: dict[str, list[Published]] = {}
    for event in events:
        found.setdefault(event.consumer, []).append(event)
    return found


def _on_events(found: Found, services: Sequence[Checked]) -> Verdict:
    """An unreadable event offends if somebody applied it, so that it could be read once, or if nobody handles it."""
    applied = {each for service in services for each in service.applied_unread}
    offenders = [str(each) for each in found.unread if each in applied or each.type not in found.handled]
    return Verdict(READABLE, sorted([*offenders, *found.misnamed]))


_SETTINGS = (
    "SET TRANSACTION READ WRITE",  # also where the default is read-only
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL default_statistics_target = 10",  # of ANALYZE: enough to choose a join
)
_OFFENDERS = f"SELECT offender.*, count(*) OVER () FROM ({{check}}) AS offender LIMIT {LISTED}"
# Also what it handled once: there are effects of what it applied then.
_HANDLED = f"""
    SELECT type FROM subscriptions WHERE consumer = $1
    UNION SELECT substr(what, {len(DROPPED) + 1}) FROM purges WHERE starts_with(what, '{DROPPED}')
"""
_CUTOFFS = "SELECT before FROM purges WHERE what = ANY($1)"
_OUTBOX_CUTOFF = "SELECT max(before) FROM purges WHERE what = 'outbox'"
_DELETE_NOT_APPLIED = """
    DELETE FROM {table} AS event WHERE NOT EXISTS (SELECT FROM inbox WHERE inbox.consumer = $1
        AND inbox.status = 'applied' AND (inbox.event_id, inbox.redrive) = (event.event_id, event.redrive))
"""
_DELETE_NOT_PUBLISHED = """
    DELETE FROM {table} AS event WHERE NOT EXISTS (SELECT FROM outbox WHERE outbox.event_id = event.event_id)
"""
_DELETE_OF_DELETED = """
    DELETE FROM {list} AS item WHERE NOT EXISTS (
        SELECT FROM {table} AS kept WHERE (kept.event_id, kept.redrive) = (item.event_id, item.redrive))
"""
_APPLIED_OF = """
    SELECT event_id::text, redrive::int FROM inbox
    JOIN unnest($2::uuid[], $3::int[]) AS asked (event_id, redrive) USING (event_id, redrive)
    WHERE consumer = $1 AND status = 'applied'
"""
