"""`fanout lag`: messages and seconds behind, per group and topic, and what each relay has still to send."""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from time import time
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException
from rich import box
from rich.console import Console
from rich.table import Table

from chassis.config import Broker
from fanout.errors import Unreachable
from fanout.held import held_partitions
from fanout.kafka_reader import reader
from fanout.lag.backlog import Backlog, backlogs
from fanout.lag.broker import Gap, Place, gaps
from fanout.lag.oldest import oldest
from fanout.running import running

Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@dataclass(frozen=True, slots=True)
class Lag:
    """`seconds` is the age of the oldest message that the group has not processed; None if there is none."""

    group: str
    topic: str
    messages: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Measurement:
    """`unreadable` are the records that groups stand at and whose headers cannot be read."""

    lags: Sequence[Lag] = ()
    unreadable: Collection[Place] = ()


def command(json_output: Json = False) -> None:
    """Show how far each group and relay is behind. Needs no worker to be alive.

    Example: fanout lag --json
    """
    addresses = running()
    relays = asyncio.run(backlogs(addresses.databases))
    held = asyncio.run(held_partitions(addresses.databases))
    measured, silence = _ask_kafka(addresses.broker, relays)
    if json_output:
        typer.echo(json.dumps(_as_json(measured, relays) | {"held_partitions": held}, indent=2))
    else:
        _show(measured, relays, Console())
        for sentence in held:
            typer.echo(sentence)
    if silence is not None:
        raise silence


def _ask_kafka(kafka: Broker, relays: Iterable[Backlog]) -> tuple[Measurement, Unreachable | None]:
    """What the databases say is shown also while Kafka is away."""
    try:
        return measure(kafka, {pair for relay in relays for pair in relay.listening}), None
    except Unreachable as error:
        return Measurement(), error


def measure(kafka: Broker, listening: Iterable[tuple[str, str]]) -> Measurement:
    try:
        with reader(kafka) as consumer:
            found = gaps(kafka, consumer, listening)
            first = oldest(consumer, found)
            return Measurement(summed(found, first.made, time()), first.unreadable)
    except KafkaException as error:
        raise Unreachable("Kafka", kafka.address) from error


def summed(found: Sequence[Gap], made: Mapping[Place, float], now: float) -> list[Lag]:
    """One line per group and topic; `found` is sorted by them."""
    lines = groupby(found, key=lambda gap: (gap.group, gap.first.topic))
    return [_line(group, topic, list(of), made, now) for (group, topic), of in lines]


def _line(group: str, topic: str, of: Sequence[Gap], made: Mapping[Place, float], now: float) -> Lag:
    oldest = min((made[gap.first] for gap in of if gap.messages and gap.first in made), default=None)
    return Lag(
        group, topic, sum(gap.messages for gap in of), None if oldest is None else max(now - oldest, 0.0)
    )


def _as_json(measured: Measurement, relays: Iterable[Backlog]) -> dict[str, Any]:
    return {
        "groups": [
            {"group": lag.group, "topic": lag.topic, "messages": lag.messages, "seconds": lag.seconds}
            for lag in measured.lags
        ],
        "unreadable": [place._asdict() for place in measured.unreadable],
        "relays": [
            {
                "service": relay.service,
                "rows": relay.rows,
                "seconds": relay.seconds,
                "set_aside": relay.set_aside,
            }
            for relay in relays
        ],
    }


def _show(measured: Measurement, relays: Iterable[Backlog], console: Console) -> None:
    groups = _table("group", "topic", "messages behind", "seconds behind")
    for lag in measured.lags:
        groups.add_row(lag.group, lag.topic, str(lag.messages), _age(lag.seconds))
    outboxes = _table("relay", "", "rows not yet in Kafka", "age of the oldest", "cannot be sent")
    for relay in relays:
        outboxes.add_row(relay.service, "outbox", str(relay.rows), _age(relay.seconds), str(relay.set_aside))
    for table in (groups, outboxes):
        if table.row_count:
            console.print(table)
    for place in measured.unreadable:
        console.print(
            f"{place.topic}, partition {place.partition}: the headers of the record at offset {place.offset} "
            "cannot be read, a consumer may be held up by it",
            soft_wrap=True,
        )


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number > 1 else "left")
    return table


def _age(seconds: float | None) -> str:
    return "0" if seconds is None else f"{seconds:.1f}"
