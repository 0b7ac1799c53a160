"""`python -m tests.benchmarks.events`: the size of each event, of the usual mix of orders on the running stack.

Places orders (`fanout up` first), waits until all is settled, and reads back from Kafka what every service published
about them. Bytes: the Avro payload without its frame; key and headers; the whole record as Kafka stores it (record
format 2 with the frame, without the share of its batch's 61 bytes).
"""

import argparse
import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from statistics import median
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from rich.console import Console

from chassis.events.avro import FRAME
from fanout.console import print_json, table
from fanout.load import place_orders, purchases
from fanout.running import Addresses, running
from fanout.verify.report import settle
from schemas import EVENTS

TOPICS = sorted({event_type.TOPIC for event_type in EVENTS})


@dataclass(frozen=True)
class Size:
    payload: int
    key_and_headers: int
    record: int


@dataclass(frozen=True)
class Sizes:
    """Medians of one event type; `events_per_order` over all orders of the load."""

    type: str
    events: int
    events_per_order: float
    payload: float
    largest_payload: int
    key_and_headers: float
    record: float


def main(orders: int, rate: float, as_json: bool) -> None:
    addresses = running()
    reader = Consumer(
        {"bootstrap.servers": addresses.kafka, "group.id": "sizes", "enable.auto.commit": False}
    )
    try:
        starts = dict(ends(reader))
        order_ids = asyncio.run(place(addresses, orders, rate))
        found: dict[str, list[Size]] = {}
        for message in messages(reader, starts, dict(ends(reader))):
            if (message.key() or b"").decode() in order_ids:
                event_type = (dict(headers_of(message))["ce_type"] or b"").decode()
                found.setdefault(event_type, []).append(size_of(message))
    finally:
        reader.close()
    rows = [summary(name, found[name], len(order_ids)) for name in sorted(found)]
    total = sum(size.record for sizes in found.values() for size in sizes) / orders
    if as_json:
        print_json({"orders": orders, "bytes_per_order": total, "events": [asdict(row) for row in rows]})
        return
    headings = ("event", ">count", ">an order", ">payload", ">largest", ">key and headers", ">record")
    cells = [tuple(asdict(row).values()) for row in rows]
    Console(highlight=False).print(table(headings, cells))
    print(f"bytes of records for an order: {total:,.0f}")


async def place(addresses: Addresses, orders: int, rate: float) -> set[str]:
    report = await place_orders(addresses, list(islice(purchases(seed=1), orders)), rate, patient=True)
    assert report.complete, report.lines()
    await settle(addresses.databases, 300)
    return set(report.order_ids)


def ends(reader: Consumer) -> Iterator[tuple[tuple[str, int], int]]:
    """Yields the end of each partition of the events' topics."""
    metadata = reader.list_topics(timeout=10).topics
    for topic in TOPICS:
        for partition in metadata[topic].partitions:
            _, end = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            yield (topic, partition), end


def messages(
    reader: Consumer, starts: dict[tuple[str, int], int], stops: dict[tuple[str, int], int]
) -> Iterator[Message]:
    """Yields what is between the offsets; a partition's reader is at its end when it reaches the stop."""
    left = {at for at, stop in stops.items() if starts[at] < stop}
    reader.assign([TopicPartition(*at, starts[at]) for at in left])
    while left:
        message = reader.poll(10)
        if message is None:
            raise SystemExit("Kafka gave nothing for 10 s: fanout status")
        if error := message.error():
            raise SystemExit(f"Kafka: {error}")
        at = message.topic() or "", message.partition() or 0
        if (message.offset() or 0) < stops[at]:
            yield message
        if (message.offset() or 0) + 1 >= stops[at]:
            left.discard(at)


def headers_of(message: Message) -> list[tuple[str, bytes | None]]:
    headers: Any = message.headers() or []
    return list(headers)


def size_of(message: Message) -> Size:
    key, value = message.key() or b"", message.value() or b""
    named = [(name.encode(), content or b"") for name, content in headers_of(message)]
    own = len(key) + sum(len(name) + len(content) for name, content in named)
    lengths = [len(key), len(value), len(named), *(len(part) for header in named for part in header)]
    body = 1 + 2 + 1 + own + len(value) + sum(map(_varint, lengths))  # attributes, time and offset deltas
    return Size(len(value) - FRAME.size, own, _varint(body) + body)


def _varint(number: int) -> int:
    """Returns the bytes of a zigzag varint of a number that is not negative."""
    return max(1, -(-(2 * number).bit_length() // 7))


def summary(name: str, sizes: Iterable[Size], orders: int) -> Sizes:
    each = list(sizes)
    return Sizes(
        type=name,
        events=len(each),
        events_per_order=len(each) / orders,
        payload=median(size.payload for size in each),
        largest_payload=max(size.payload for size in each),
        key_and_headers=median(size.key_and_headers for size in each),
        record=median(size.record for size in each),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.events", description=__doc__)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    main(given.orders, given.rate, given.json)
