"""Finds the outbox rows whose receiver does not have them and will not get them: what `fanout resend --lost` sends.

Events are lost as the ledger counts them. A dead letter or a redriven message is lost if it was sent to a topic that
has been made anew since, or that lost records unread, and its receiver has no trace of it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.events.dead_letter import Origin
from chassis.events.topics import DLQ
from chassis.outbox.table import load_headers
from fanout.databases import Databases, read_each
from fanout.resend.selection import SENT
from fanout.verify.lost import lost_events

STORE = "dead_letters"
"""The service that stores dead letters."""

Ids = dict[str, list[int]]
"""Of outbox rows, by service."""


class Forwarded(NamedTuple):
    """A dead letter or redriven message as an outbox has it."""

    service: str
    row_id: int
    topic: str
    headers: Mapping[str, str]

    @property
    def redrive(self) -> int:
        return int(self.headers.get("dlq_redrive") or 0)


async def topics(databases: Databases) -> set[str]:
    """Returns the topics of which any outbox has rows."""

    async def of_one(_: str, db: AsyncConnection) -> Sequence[str]:
        return (await db.execute(text("SELECT DISTINCT topic FROM outbox"))).scalars().all()

    return {topic for found in await read_each(databases, of_one) for topic in found}


async def rows(databases: Databases) -> Ids:
    """Returns the ids of all lost rows, by service, in their order."""
    events, forwarded = await _events(databases), await _forwarded(databases)
    return {name: sorted({*events.get(name, ()), *forwarded.get(name, ())}) for name in databases}


async def _events(databases: Databases) -> Ids:
    found: Ids = defaultdict(list)
    async for event in lost_events(databases):
        found[event.service].append(event.outbox_id)
    return found


async def _forwarded(databases: Databases) -> Ids:
    gone = await _gone(databases)
    dead = [each for each in gone if each.topic.endswith(DLQ)]
    redriven = [each for each in gone if not each.topic.endswith(DLQ)]
    missing: Ids = defaultdict(list)
    for each in [*await _not_stored(databases, dead), *await _not_received(databases, redriven)]:
        missing[each.service].append(each.row_id)
    return missing


async def _gone(databases: Databases) -> list[Forwarded]:
    """Returns the messages sent to a topic that was made anew since, or of which something was deleted unread."""

    async def read(
        service: str, db: AsyncConnection
    ) -> tuple[list[Row[Any]], list[Row[Any]], list[Row[Any]]]:
        sent, seen, unread = [(await db.execute(sql)).all() for sql in (_SENT_TO, _SEEN, _UNREAD)]
        return list(sent), list(seen), list(unread)

    found = dict(zip(databases, await read_each(databases, read), strict=True))
    known = sorted((row for _, seen, _ in found.values() for row in seen), key=lambda row: row.first_seen_at)
    newest = {row.topic: row.topic_id for row in known}
    oldest = {row.topic: row.topic_id for row in reversed(known)}
    unread = {(row.topic, row.partition) for _, _, rows in found.values() for row in rows}
    return [
        Forwarded(service, row.id, row.topic, _text(row.headers))
        for service, (sent, _, _) in found.items()
        for row in sent
        if (row.topic_id or oldest.get(row.topic)) != newest.get(row.topic)
        or (row.topic, row.kafka_partition) in unread
    ]


async def _not_stored(databases: Databases, dead: Sequence[Forwarded]) -> list[Forwarded]:
    """Returns the dead letters that the service of dead letters has not stored."""
    if not dead or STORE not in databases:
        return list(dead)

    async def stored(_: str, db: AsyncConnection) -> list[Row[Any]]:
        return list((await db.execute(_STORED)).all())

    [found] = await read_each({STORE: databases[STORE]}, stored)
    states = {tuple(row[:5]): (row.redrive, row.status) for row in found}
    return [each for each in dead if not _is_stored(states.get(_record(each)), each.redrive)]


def _is_stored(state: tuple[int, str] | None, redrive: int) -> bool:
    """Returns True if the stored dead letter knows of this failure: it came after so many redrives."""
    return state is not None and (state[0] > redrive or (state[0] == redrive and state[1] != "redriven"))


def _record(letter: Forwarded) -> tuple[Any, ...]:
    try:
        origin = Origin.read(letter.headers)
        place = origin.topic, origin.partition, origin.kafka_offset, origin.record_at
    except (KeyError, ValueError):
        return ()
    return letter.headers.get("dlq_consumer"), *place


async def _not_received(databases: Databases, redriven: Iterable[Forwarded]) -> list[Forwarded]:
    """Returns the redriven messages that their consumer has neither applied nor parked again."""
    by_consumer: dict[str, list[Forwarded]] = defaultdict(list)
    for each in redriven:
        by_consumer[each.topic.split(".")[-2]].append(each)

    async def missing(consumer: str, db: AsyncConnection) -> list[Forwarded]:
        ids = [event_id for each in by_consumer[consumer] if (event_id := _event_id(each))]
        rows = await db.execute(_RECEIVED, {"consumer": consumer, "events": ids})
        reached = {row.event_id: 10_000 if row.status == "applied" else row.redrive for row in rows}
        return [
            each
            for each in by_consumer[consumer]
            if (event_id := _event_id(each)) is None or reached.get(event_id, -1) < each.redrive
        ]

    receivers = {name: url for name, url in databases.items() if name in by_consumer}
    return [each for found in await read_each(receivers, missing) for each in found]


def _event_id(message: Forwarded) -> UUID | None:
    try:
        return UUID(message.headers.get("ce_id", ""))
    except ValueError:
        return None


def _text(headers: str) -> dict[str, str]:
    return {name: (value or b"").decode("ascii", "replace") for name, value in load_headers(headers)}


_SENT_TO = text(f"""
    SELECT id, topic, topic_id, kafka_partition, headers FROM outbox
    WHERE aggregate_id IS NULL AND {SENT} AND (topic LIKE '%.dlq' OR topic LIKE '%.retry')
""")
_SEEN = text("SELECT topic, topic_id, first_seen_at FROM topic_ids")
_UNREAD = text("SELECT topic, partition FROM consumer_offsets WHERE lost > 0")
_STORED = text(
    "SELECT consumer, topic, partition, kafka_offset, record_at, redrive, status FROM dead_letters"
)
_RECEIVED = text("""
    SELECT event_id, status, redrive FROM inbox WHERE consumer = :consumer AND event_id = ANY (:events)
""")
