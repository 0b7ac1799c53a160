"""One consumer for both forms of OrderPlaced: a fat event has all it needs, for a thin one it asks the orders API.

Both read the same topic settings in the same batches and write the same rows. The thin one is as good as we can make
it: kept-alive connections, TIMEOUT_SECONDS for an answer, LOOKUPS_AT_ONCE lookups at a time and one for each order of
a batch, an HTTP client that costs a tenth of httpx's CPU, and retries for as long as the owner is away. It may not
skip an event: then its effect would be lost.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from time import perf_counter
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from chassis.database import Database, driver
from chassis.events.avro import FRAME, frame
from fanout.http_client import Client, NoAnswer, NotConnected, Response
from fanout.running import Addresses
from fanout.tokens import signer
from schemas import OrderPlaced
from schemas.files import parsed_schema

Form = Literal["fat", "thin"]

TIMEOUT_SECONDS = 2.0
LOOKUPS_AT_ONCE = 20
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 1.0
SCHEMA_ID = 1
THIN: Any = parse_schema(
    {
        "type": "record",
        "name": "ThinOrderPlaced",
        "fields": [
            {"name": "order_id", "type": "string"},
            {"name": "order_version", "type": "int"},
            {"name": "occurred_at", "type": "long"},
        ],
    }
)
SCHEMAS: dict[Form, Any] = {"fat": parsed_schema(OrderPlaced), "thin": THIN}
TABLE = """
    CREATE TABLE effects (
        order_id text PRIMARY KEY, customer_id text, total_cents bigint, lines int, status text, version int
    )
"""
INSERT = """
    INSERT INTO effects SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::text[], $6::int[])
    ON CONFLICT DO NOTHING
"""


def value_of(form: Form, order: dict[str, Any]) -> bytes:
    """Returns the Kafka value of an order in this form."""
    payload = BytesIO()
    schemaless_writer(
        payload, SCHEMAS[form], {name["name"]: order[name["name"]] for name in SCHEMAS[form]["fields"]}
    )
    return frame(SCHEMA_ID, payload.getvalue())


class Owner(Client):
    """The orders API, for an operator who reads."""

    def __init__(self, addresses: Addresses, url: str, timeout: float = 10.0) -> None:
        super().__init__(url, timeout)
        self._prefix += f"Authorization: Bearer {signer(addresses).operator()}\r\n"

    async def get(self, path: str) -> Response:
        """Raises NotConnected or NoAnswer."""
        return await self._send(f"GET {path} HTTP/1.1\r\n{self._prefix}\r\n".encode())


@dataclass
class OrderConsumer:
    """Reads one topic from its beginning and stores a row for each order."""

    form: Form
    database: Database
    kafka: AIOKafkaConsumer
    owner: Owner
    stored_at: dict[str, float] = field(default_factory=dict)
    lookup_seconds: list[float] = field(default_factory=list)
    failed_lookups: int = 0

    async def run(self, count: int) -> None:
        """Returns when `count` orders are stored."""
        places = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        while len(self.stored_at) < count:
            fetched = await self.kafka.getmany(timeout_ms=100, max_records=500)
            values = [record.value for records in fetched.values() for record in records]
            if not values:
                continue
            orders = [self._decode(value) for value in values]
            if self.form == "thin":
                orders = await asyncio.gather(*(self._look_up(order["order_id"], places) for order in orders))
            await self._store(orders)
            now = perf_counter()
            self.stored_at |= {order["order_id"]: now for order in orders}

    def _decode(self, value: bytes) -> dict[str, Any]:
        stream = BytesIO(value)
        stream.seek(FRAME.size)
        record: Any = schemaless_reader(stream, SCHEMAS[self.form], None)
        return {"status": "placed", "version": record["order_version"], **record}

    async def _look_up(self, order_id: str, places: asyncio.Semaphore) -> dict[str, Any]:
        """Repeats the lookup until the owner answers."""
        pause = FIRST_PAUSE_SECONDS
        async with places:
            while True:
                began = perf_counter()
                try:
                    answer = await self.owner.get(f"/orders/{order_id}")
                    if answer.status == 200:
                        self.lookup_seconds.append(perf_counter() - began)
                        order: dict[str, Any] = json.loads(answer.body)
                        return order
                except (NotConnected, NoAnswer):
                    pass
                self.failed_lookups += 1
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _store(self, orders: Sequence[dict[str, Any]]) -> None:
        columns = zip(
            *(
                (
                    o["order_id"],
                    o["customer_id"],
                    o["total_cents"],
                    len(o["lines"]),
                    o["status"],
                    o["version"],
                )
                for o in orders
            ),
            strict=True,
        )
        async with self.database.transaction() as db:
            await driver(db).execute(INSERT, *columns)


async def assigned(kafka: str, topic: str, partitions: int) -> AIOKafkaConsumer:
    """Returns a started client at the beginning of every partition; without a group there is nothing to rebalance."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
    await consumer.seek_to_beginning()
    return consumer
