"""`fanout tail`: events as they arrive in Kafka, decoded, one line each."""

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from chassis.dead_letters.reader import read_dead_letter
from chassis.errors import InfrastructureFailure
from chassis.events.decoding import decode_record
from chassis.events.record import EVENT_TYPES, DecodedRecord, IgnoredRecord, Record, UnreadableRecord
from chassis.events.registry import Registry
from chassis.events.topics import DLQ, event_topic
from fanout.console import Json, printable, say
from fanout.durations import timestamp
from fanout.errors import BadUsage
from fanout.kafka_tail import arriving
from fanout.local.stopped import KAFKA, require_started
from fanout.running import running
from schemas.secrets import MASK, is_secret, masked, masked_text, secrets_in

COLOURS = ("cyan", "green", "yellow", "magenta", "blue")
"""By event topic, in alphabetical order. Each topic has one service that publishes in it."""
TOPICS = sorted({event_type.TOPIC for event_type in EVENT_TYPES.values()})
NARROW = 100
SHORT_ID = 8

Topic = Annotated[
    str, typer.Argument(help="Only this one, perhaps of dead letters; default: all topics of events.")
]
Order = Annotated[str | None, typer.Option(metavar="ID", help="Only events of this order.")]
Headers = Annotated[bool, typer.Option("--headers", help="Also print the headers.")]
Beginning = Annotated[bool, typer.Option("--from-beginning", help="First print what is there already.")]
Since = Annotated[
    datetime | None,
    typer.Option(parser=timestamp, metavar="TIME", help="First print what arrived from then on."),
]
Count = Annotated[
    int | None, typer.Option("--count", "-n", min=1, max=1_000_000_000, help="End after so many.")
]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as far as it may be shown: secrets are masked, and undecodable bytes are left out."""

    record: Record
    event: Mapping[str, Any] | None
    note: str = ""

    @property
    def type(self) -> str:
        return self.record.header("ce_type") or "-"

    @property
    def order_id(self) -> str:
        key = (self.record.key or b"").decode("utf-8", "replace")
        return key or self.record.header("ce_subject") or "-"


def command(
    topic: Topic = "",
    order: Order = None,
    headers: Headers = False,
    from_beginning: Beginning = False,
    since: Since = None,
    count: Count = None,
    json_output: Json = False,
) -> None:
    """Print events as they arrive in Kafka, decoded, one line each, until Ctrl-C.

    It joins no group and commits nothing, so no consumer notices. Colours tell the services apart. What cannot be
    decoded is named, and its bytes are not shown; secrets are masked. With --json, each line is an object.

    Example: fanout tail orders --since 5m
    """
    if from_beginning and since:
        raise BadUsage("give --from-beginning or --since, but not both")
    system = running()
    require_started(KAFKA)
    topics = [topic] if topic else TOPICS
    console, registry, left = Console(), Registry(system.registry_url), count
    with arriving(system.broker, topics, since, from_beginning) as batches, asyncio.Runner() as runner:
        say(f"reading {', '.join(topics)}; Ctrl-C ends")
        try:
            for record in _wanted(batches, order):
                entry = runner.run(_decoded(record, registry))
                if json_output:
                    print(json.dumps(_as_json(entry, headers)))
                else:
                    _print(entry, headers, console)
                sys.stdout.flush()
                left = left and left - 1
                if left == 0:
                    return
        except BrokenPipeError:
            return


def _wanted(batches: Iterator[list[Record]], order: str | None) -> Iterator[Record]:
    for batch in batches:
        for record in batch:
            if order is None or order in (
                (record.key or b"").decode("utf-8", "replace"),
                record.header("ce_subject"),
            ):
                yield record


async def _decoded(record: Record, registry: Registry) -> Entry:
    try:
        if record.topic.endswith(DLQ):
            dead_letter = await read_dead_letter(record, registry)
            event = None if dead_letter.event is None else dead_letter.event.to_record()
            reason = f"{dead_letter.error_type}: {dead_letter.error_message}"
            note = masked_text(f"parked by {dead_letter.consumer}: {reason}", secrets_in(event))
            return Entry(record, masked(event), note)
        match await decode_record(record, EVENT_TYPES, registry):
            case DecodedRecord(event=found):
                return Entry(record, masked(found.to_record()))
            case UnreadableRecord(failure=failure):
                return Entry(record, None, masked_text(f"cannot be decoded: {failure}"))
            case IgnoredRecord():
                return Entry(
                    record, None, "not decoded: this release does not know the type, a newer one does"
                )
        return Entry(record, None)
    except InfrastructureFailure:
        return Entry(record, None, "not decoded: the registry does not answer")


def _print(entry: Entry, headers: bool, console: Console) -> None:
    """Prints one line, on a terminal cut to its width; rich would end the process when a pipe is closed."""
    line = _line(entry, short=console.is_terminal and console.width < NARROW)
    if console.is_terminal:
        console.print(line, no_wrap=True, overflow="ellipsis")
    else:
        print(line.plain.rstrip())
    for name, value in _headers(entry.record).items() if headers else ():
        print(printable(f"    {name}: {value}"))


def _line(entry: Entry, short: bool) -> Text:
    record, order_id = entry.record, entry.order_id
    if short and len(order_id) > SHORT_ID:
        order_id = f"…{order_id[-SHORT_ID:]}"
    topic = event_topic(record.topic)
    colour = COLOURS[TOPICS.index(topic) % len(COLOURS)] if topic in TOPICS else "white"
    text = Text(f"{record.at:%H:%M:%S}.{record.timestamp_ms % 1000:03} ", "dim")
    text.append(printable(f"{record.topic:<9} {entry.type:<16} "), colour)
    text.append(printable(f"{order_id} "))
    if entry.note:
        text.append(printable(f"{entry.note} "), "red")
    text.append(printable(" ".join(_fields(entry))))
    return text


def _fields(entry: Entry) -> Iterator[str]:
    """Yields the fields that say what happened: not the key, the versions and the time, and none that is null."""
    known = EVENT_TYPES.get(entry.type)
    left_out = {"occurred_at", *((known.KEY, known.VERSION_FIELD) if known else ())}
    for name, value in (entry.event or {}).items():
        if name not in left_out and value is not None:
            yield f"{name}={_text(value)}"


def _text(value: Any) -> str:
    match value:
        case {"product_id": product, "quantity": quantity}:
            return f"{quantity} {product}"
        case {}:
            return " ".join(f"{name}={_text(item)}" for name, item in value.items())
        case list() | tuple():
            return f"[{', '.join(map(_text, value))}]"
        case _:
            return str(value)


def _headers(record: Record) -> dict[str, str]:
    return {
        name: MASK if is_secret(name) else masked_text((value or b"").decode("utf-8", "replace"))
        for name, value in record.headers
    }


def _as_json(entry: Entry, headers: bool) -> dict[str, Any]:
    record = entry.record
    return {
        "at": record.at.isoformat(),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "type": entry.type,
        "order_id": entry.order_id,
        "event": entry.event,
        "note": entry.note or None,
        **({"headers": _headers(record)} if headers else {}),
    }
