"""`fanout lag`: messages and seconds behind, per group and topic, and the rows that each relay has still to send."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from time import monotonic, time
from typing import Annotated, Any, NamedTuple

import typer
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from rich.console import Console
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Broker
from chassis.outbox.table import REFUSED
from fanout.completion import service_names
from fanout.console import Json, print_json, table
from fanout.databases import Databases, held_partitions, ignored_events, read_each
from fanout.errors import Unreachable
from fanout.kafka_admin import Partition, admin_of, committed
from fanout.kafka_reader import TIMEOUT, reader, record_ends
from fanout.names import service_of
from fanout.outside_groups import outside_groups
from fanout.running import running


class Position(NamedTuple):
    topic: str
    partition: int
    offset: int


class Gap(NamedTuple):
    """A group is `messages` behind in one partition; the first of them is at `first`."""

    group: str
    first: Position
    messages: int


@dataclass(frozen=True, slots=True)
class Lag:
    """`seconds` is the age of the oldest message that the group has not processed; None if there is none."""

    group: str
    topic: str
    messages: int
    seconds: float | None
    outside: bool = False
    """The group belongs to no service."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """`unreadable` are the positions of records at the head of a group's gap whose headers cannot be read."""

    lags: Sequence[Lag] = ()
    unreadable: Collection[Position] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Outbox rows that are not yet in Kafka, with the age of the oldest (None if there are none)."""

    service: str
    rows: int
    seconds: float | None
    set_aside: int
    """Rows that cannot be sent."""


Name = Annotated[
    str | None,
    typer.Argument(metavar="[SERVICE]", help="Only this one; default: all.", autocompletion=service_names),
]


def command(name: Name = None, json_output: Json = False) -> None:
    """Show how far each group and relay is behind. Needs no worker to be alive.

    A group that reads events but belongs to no service is shown as outside. In a partition where it has committed no
    offset, it counts as being at the start.

    Example: fanout lag --json
    """
    addresses = running()
    service = None if name is None else service_of(name, sorted(addresses.databases))
    if service is not None:
        addresses = replace(addresses, databases={service: addresses.databases[service]})
    relays, listening = asyncio.run(backlogs(addresses.databases))
    held = asyncio.run(held_partitions(addresses.databases))
    ignored = asyncio.run(ignored_events(addresses.databases))
    measured, unreachable = Measurement(), None
    try:
        outside = [] if service else _outside(addresses.broker, addresses.databases)
        measured = measure(addresses.broker, listening, outside)
    except Unreachable as error:  # what the databases say is shown all the same
        unreachable = error
    if json_output:
        print_json(_as_json(measured, relays) | {"held_partitions": held, "ignored_events": ignored})
    else:
        _show(measured, relays)
        for sentence in [*held, *ignored]:
            print(sentence)
    if unreachable:
        raise unreachable


def measure(
    kafka: Broker, listening: Iterable[tuple[str, str]], outside: Iterable[tuple[str, str]] = ()
) -> Measurement:
    """`listening` and `outside`: pairs of group and topic, of the services and of others. The others come last."""
    others = sorted(outside)
    try:
        with reader(kafka) as consumer:
            found = _gaps(kafka, consumer, [*sorted(listening), *others])
            made, unreadable = _oldest(consumer, found)
            return Measurement(summed(found, made, time(), {group for group, _ in others}), unreadable)
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.address) from error


def _outside(kafka: Broker, services: Collection[str]) -> list[tuple[str, str]]:
    try:
        return outside_groups(admin_of(kafka), services)
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.address) from error


def _gaps(kafka: Broker, consumer: Consumer, listening: Sequence[tuple[str, str]]) -> list[Gap]:
    """Returns the gap of each group in each partition of its topics."""
    known = consumer.list_topics(timeout=TIMEOUT).topics
    spans = {
        (topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT)
        for topic in {topic for _, topic in listening} & known.keys()
        for number in known[topic].partitions
    }
    positions = {group: committed(admin_of(kafka), group) for group in {group for group, _ in listening}}
    found = [
        gap(group, partition, positions[group].get(partition), *spans[partition])
        for group, topic in listening
        for partition in sorted(spans)
        if partition[0] == topic
    ]
    return _without_control_records(consumer, found)


def gap(group: str, partition: Partition, committed: int | None, start: int, end: int) -> Gap:
    """A group that never committed is at the start. What lay before `start` was deleted by retention."""
    position = start if committed is None else max(committed, start)
    return Gap(group, Position(*partition, position), max(end - position, 0))


def _without_control_records(consumer: Consumer, found: Sequence[Gap]) -> list[Gap]:
    spans: dict[Partition, tuple[int, int]] = {}
    for _, first, messages in found:
        partition, end = (first.topic, first.partition), first.offset + messages
        start, _ = spans.get(partition, (first.offset, end))
        spans[partition] = min(start, first.offset), end
    ends = record_ends(consumer, spans)
    return [
        Gap(group, first, max(ends[first.topic, first.partition] - first.offset, 0))
        for group, first, _ in found
    ]


def _oldest(consumer: Consumer, gaps: Iterable[Gap]) -> tuple[Mapping[Position, float], Collection[Position]]:
    """Returns the Unix time of each gap's first record, and those whose headers cannot be read.

    Leaves out records that Kafka does not deliver in time.
    """
    made, unreadable = {}, []
    for positions in _rounds(gaps):
        for position, message in _read(consumer, positions):
            try:
                headers = message.headers() or []
            except (SystemError, UnicodeDecodeError):  # raised by the client if a header name is not UTF-8
                headers = None
                unreadable.append(position)
            made[position] = made_at(headers, message.timestamp()[1])
    return made, unreadable


def _rounds(gaps: Iterable[Gap]) -> list[set[Position]]:
    """A consumer has one position in a partition, so each round asks for one offset of each."""
    rounds: list[dict[Partition, Position]] = []
    for position in sorted({gap.first for gap in gaps if gap.messages}):
        where = position.topic, position.partition
        free = next((chosen for chosen in rounds if where not in chosen), None)
        if free is None:
            rounds.append(free := {})
        free[where] = position
    return [set(chosen.values()) for chosen in rounds]


def _read(consumer: Consumer, positions: Collection[Position]) -> Iterator[tuple[Position, Message]]:
    consumer.assign([TopicPartition(*position) for position in positions])
    asked = {(position.topic, position.partition): position for position in positions}
    deadline = monotonic() + TIMEOUT
    while asked and monotonic() < deadline:
        message = consumer.poll(0.2)
        position = asked.pop((message.topic() or "", message.partition() or 0), None) if message else None
        if message and position and not message.error():
            yield position, message


def made_at(headers: object, timestamp_ms: int) -> float:
    """Returns the Unix time of `ce_time` (RFC 3339), or of the record if that is missing or no such time."""
    ce_time = dict(headers).get("ce_time", b"") if isinstance(headers, list) else b""
    try:
        return datetime.fromisoformat((ce_time or b"").decode()).timestamp()
    except ValueError:
        return timestamp_ms / 1000


def summed(
    found: Sequence[Gap], made: Mapping[Position, float], now: float, outside: Collection[str] = ()
) -> list[Lag]:
    """Returns one lag per group and topic; `found` has their gaps side by side."""
    lags = []
    for (group, topic), gaps in groupby(found, key=lambda gap: (gap.group, gap.first.topic)):
        behind = [gap for gap in gaps if gap.messages]
        oldest = min((made[gap.first] for gap in behind if gap.first in made), default=None)
        seconds = None if oldest is None else max(now - oldest, 0.0)
        messages = sum(gap.messages for gap in behind)
        lags.append(Lag(group, topic, messages, seconds, outside=group in outside))
    return lags


async def backlogs(databases: Databases) -> tuple[list[Backlog], set[tuple[str, str]]]:
    """Returns the backlog of every relay, and all pairs of group and topic."""
    listening: set[tuple[str, str]] = set()

    async def backlog(service: str, db: AsyncConnection) -> Backlog:
        rows, seconds = (await db.execute(_UNSENT)).one()
        listening.update((consumer, topic) for consumer, topic in await db.execute(_LISTENING))
        return Backlog(service, rows, seconds, (await db.execute(_SET_ASIDE)).scalar_one())

    return await read_each(databases, backlog), listening


def _as_json(measured: Measurement, relays: Iterable[Backlog]) -> dict[str, Any]:
    return {
        "groups": [asdict(lag) for lag in measured.lags],
        "unreadable": [position._asdict() for position in measured.unreadable],
        "relays": [asdict(relay) for relay in relays],
    }


def _show(measured: Measurement, relays: Sequence[Backlog]) -> None:
    console = Console()
    if measured.lags:
        rows = [(_name(lag), lag.topic, lag.messages, f"{lag.seconds or 0:.1f}") for lag in measured.lags]
        console.print(table(("group", "topic", ">messages behind", ">seconds behind"), rows))
    if relays:
        headings = ("relay", ">rows not yet in Kafka", ">age of the oldest", ">cannot be sent")
        lines = [(relay.service, relay.rows, _age(relay.seconds), relay.set_aside) for relay in relays]
        console.print(table(headings, lines))
    for position in measured.unreadable:
        print(
            f"{position.topic}, partition {position.partition}: the headers of the record at offset {position.offset} "
            "cannot be read, a consumer may be held up by it"
        )


def _name(lag: Lag) -> str:
    return f"{lag.group} (outside)" if lag.outside else lag.group


def _age(seconds: float | None) -> str:
    """Returns an age with its unit; a relay that has sent everything has no oldest row."""
    return "-" if seconds is None else f"{seconds:.1f} s"


_LISTENING = text("SELECT DISTINCT consumer, topic FROM subscriptions")
_UNSENT = text("""
    SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float
    FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL
""")
_SET_ASIDE = text(f"SELECT count(*) FROM outbox WHERE {REFUSED}")
