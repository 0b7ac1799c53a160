"""Faults of messages: one that is truncated by its producer, and records that are sent a second time."""

import asyncio
from datetime import UTC, datetime, timedelta
from io import BytesIO
from math import ceil
from threading import Event
from time import monotonic, sleep
from typing import Any, cast

import asyncpg
from confluent_kafka import Consumer, TopicPartition
from fastavro import schemaless_reader

from chassis.outbox.outcome import Outgoing
from chassis.outbox.producer import OrderedProducer
from fanout.chaos.databases import connected
from fanout.chaos.injection import CannotBegin, Injection
from fanout.dead_letters_client import open_client
from fanout.errors import FanoutError
from fanout.kafka_admin import ANSWER_SECONDS
from fanout.kafka_reader import reader
from fanout.load import place_orders, purchases
from fanout.local.stopped import require_started
from fanout.running import Addresses, running
from fanout.truncation import ARM, DISARM, SERVICE, WHOLE
from schemas import StockReserved
from schemas.files import parsed_schema

TRUNCATION_SECONDS = 30
PARKED_SECONDS = 30.0
SEND_SECONDS = 10.0
LOOK_SECONDS = 0.5
RECENT = timedelta(hours=1)
"""Messages that were parked before are not those of this fault."""
WHY = "it was truncated by fanout chaos"


class Poison(Injection):
    """Truncates a StockReserved in inventory's outbox; at the end it is corrected and redriven."""

    def __init__(self) -> None:
        super().__init__()
        self.met = {"poisoned": []}
        self._messages: dict[str, dict[str, Any]] = {}
        """The whole messages that are still to be redriven, by order."""

    async def begin(self) -> None:
        require_started("kafka", "orders-api", "orders-worker", f"{SERVICE}-worker")
        async with connected(SERVICE, TIMEOUTS) as db:
            await db.execute(ARM)
        one_mug = next(purchase for purchase in purchases(seed=2) if purchase.kind == "card")
        await place_orders(running(), [one_mug], rate=1, patient=True)
        deadline = monotonic() + TRUNCATION_SECONDS
        while not await self._truncated():
            if monotonic() > deadline:
                raise FanoutError(f"inventory reserved nothing for {TRUNCATION_SECONDS} s: fanout status")
            await asyncio.sleep(LOOK_SECONDS)

    async def _truncated(self) -> bool:
        try:
            async with connected(SERVICE, TIMEOUTS) as db:
                return bool(await db.fetch(WHOLE))
        except (OSError, asyncpg.PostgresError):
            return False

    async def end(self) -> None:
        async with connected(SERVICE, TIMEOUTS) as db, db.transaction():
            await db.execute("LOCK TABLE outbox IN ACCESS EXCLUSIVE MODE")  # so that no message follows
            if await db.fetchval("SELECT to_regclass('truncated') IS NOT NULL"):
                for row in await db.fetch(WHOLE):
                    message = _decoded(row["payload"])
                    self._messages[message["order_id"]] = message
            await db.execute(DISARM)
        self.met["poisoned"] = sorted({*self.met["poisoned"], *self._messages})
        for order_id, message in list(self._messages.items()):
            await asyncio.to_thread(redrive_corrected, running(), order_id, message)
            del self._messages[order_id]


def redrive_corrected(addresses: Addresses, order_id: str, message: dict[str, Any]) -> None:
    """Redrives the whole message in place of the truncated one. Raises FanoutError if orders does not park it."""
    deadline = monotonic() + PARKED_SECONDS
    since = (datetime.now(UTC) - RECENT).isoformat()
    wanted = {"consumer": "orders", "topic": SERVICE, "limit": 200, "since": since}
    with open_client("fanout chaos", addresses) as client:
        while monotonic() < deadline:
            found = client.get("/dead-letters", wanted)["dead_letters"]
            mine = [each for each in found if each["key"] == order_id]
            for dead_letter in mine:
                if dead_letter["status"] == "parked":
                    body = {"why": WHY, "correction": message}
                    client.decide("redrive", dead_letter["dead_letter_id"], body)
            if mine:
                return
            sleep(LOOK_SECONDS)
    raise FanoutError(f"orders has parked nothing of order {order_id} for {PARKED_SECONDS:.0f} s: fanout lag")


class Duplicate(Injection):
    """Sends the newest records of a topic again: the same keys, values and headers, so the same partitions."""

    def __init__(self, topic: str, count: int) -> None:
        super().__init__()
        self.met = {"duplicated": 0}
        self._topic, self._count = topic, count

    async def begin(self) -> None:
        require_started("kafka")
        self.met["duplicated"] = await asyncio.to_thread(self._send_again)

    def _send_again(self) -> int:
        broker = running().broker
        with reader(broker) as consumer:
            records = newest(consumer, self._topic, self._count)
        if not records:
            raise CannotBegin(f"topic {self._topic} has no records: fanout load")
        outcome = OrderedProducer(broker).send(records, Event(), monotonic() + SEND_SECONDS)
        return len(outcome.sent)


def newest(consumer: Consumer, topic: str, count: int) -> list[Outgoing]:
    """Returns about the newest `count` records, equally many of each partition, each partition's in order."""
    partitions = consumer.list_topics(topic, ANSWER_SECONDS).topics[topic].partitions
    share, starts, expected = ceil(count / max(len(partitions), 1)), [], 0
    for number in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), ANSWER_SECONDS)
        starts.append(TopicPartition(topic, number, max(low, high - share)))
        expected += min(share, high - low)
    consumer.assign(starts)
    found: list[Outgoing] = []
    deadline = monotonic() + SEND_SECONDS
    while len(found) < expected and monotonic() < deadline:
        message = consumer.poll(LOOK_SECONDS)
        if message is not None and message.error() is None:
            headers = cast(list[tuple[str, bytes | None]], message.headers() or [])
            found.append(Outgoing(len(found), topic, message.key(), message.value(), headers))
    return found[:count]


def _decoded(payload: bytes) -> dict[str, Any]:
    record: Any = schemaless_reader(BytesIO(payload), parsed_schema(StockReserved), None)
    return dict(record)


TIMEOUTS = {"lock_timeout": "10s", "statement_timeout": "15s"}
