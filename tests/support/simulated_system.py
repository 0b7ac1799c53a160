"""Simulates the system for tests of `verify`: the real services on real Postgres, events delivered without Kafka."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from uuid import uuid4

from fastavro import schemaless_reader
from sqlalchemy import Row, text
from sqlalchemy.engine import URL

from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, advance
from chassis.consumer.parking import Failed, park
from chassis.database import Database
from chassis.events.avro import frame
from chassis.events.record import Record
from chassis.events.registry import UnknownSchemaId
from chassis.migrations import migrate
from chassis.outbox.table import load_headers
from chassis.service import Service, load
from fanout.verify.reconcile import Account
from fanout.verify.report import Report, audit
from schemas import EVENTS, Event
from schemas.files import parsed_schema
from services.orders.api import cancel
from services.orders.models import NewOrder
from services.payments.api import settle_invoice
from services.payments.models import NewPayment
from tests.support import sample_events
from tests.support.databases import administer, named_url
from tests.support.dead_letter_service import store
from tests.support.principals import SOME_OPERATOR

HOLDS = "holds: lost 0, applied twice 0, in flight 0, parked 0"
"""The verdict on a simulated system in which everything is applied."""
SCHEMA_ID = 7
SERVICES = (
    "analytics",
    "dead_letters",
    "fraud",
    "fulfillment",
    "inventory",
    "notifications",
    "orders",
    "payments",
)
TYPES = {event_type.NAME: event_type for event_type in EVENTS}
UNSENT = text(
    "SELECT id, event_id, type, key, payload, headers, created_at FROM outbox WHERE published_at IS NULL ORDER BY id"
)
SENT = text(
    "UPDATE outbox SET published_at = now(), kafka_partition = 0, kafka_offset = :offset WHERE id = :id"
)


@dataclass
class SimulatedSystem:
    """Offsets grow by one a topic, all in partition 0. Only what `deliver` delivers is ever received."""

    databases: Mapping[str, Database]
    offsets: Counter[str] = field(default_factory=Counter)
    refused: set[tuple[str, str]] = field(default_factory=set)
    """Consumers and ids of events that they park instead of applying them."""

    async def order(self, product: str = "mug", card: str | None = "tok_visa", quantity: int = 1) -> str:
        new = NewOrder(
            currency="EUR",
            payment_method="card" if card else "invoice",
            card_token=card,
            lines=[{"product_id": product, "quantity": quantity}],
        )
        customer_id = f"customer-{uuid4().hex[:8]}"
        return await sample_events.place_order(self.databases["orders"], new, customer_id)

    async def cancel(self, order_id: str) -> None:
        async with self.databases["orders"].transaction() as db:
            await cancel(db, order_id, SOME_OPERATOR)

    async def pay(self, order_id: str) -> None:
        ((cents,),) = await self.run(
            "payments", f"SELECT amount_cents FROM payments WHERE order_id = '{order_id}'"
        )
        async with self.databases["payments"].transaction() as db:
            invoice = NewPayment(order_id=order_id, amount_cents=cents, currency="EUR")
            await settle_invoice(db, invoice, SOME_OPERATOR)

    async def close(self) -> None:
        for database in self.databases.values():
            await database.close()

    async def deliver(self) -> None:
        """Until nobody has anything more to say."""
        while sum([await self.collect(service) for service in SERVICES]):
            pass

    async def run(self, service: str, sql: str) -> list[Row[*tuple[Any, ...]]]:
        async with self.databases[service].transaction() as db:
            results = [await db.execute(text(part.replace(":", r"\:"))) for part in sql.split(";")]
            return list(results[-1]) if results[-1].returns_rows else []

    async def audit(self) -> Report:
        return await audit(self.urls)

    @property
    def urls(self) -> Mapping[str, str]:
        return {name: url_of(database) for name, database in self.databases.items()}

    async def collect(self, service: str) -> int:
        """Hands what a service has published to all who listen; returns how many events that were."""
        async with self.databases[service].transaction() as db:
            rows = list(await db.execute(UNSENT))
        for row in rows:
            event = event_of(row)
            offset = self.offsets[event.TOPIC]
            self.offsets[event.TOPIC] += 1
            async with self.databases[service].transaction() as db:
                await db.execute(SENT, {"offset": offset, "id": row.id})
            for listener in SERVICES:
                await self._hand_over(load(listener), row, event, offset)
        return len(rows)

    async def _hand_over(self, to: Service, row: Row[*tuple[Any, ...]], event: Event, offset: int) -> None:
        if type(event) not in to.handlers:
            return
        if (to.name, str(row.event_id)) in self.refused:
            headers = load_headers(row.headers)
            at = round(row.created_at.timestamp() * 1000)
            await self.park(
                to.name, Record(event.TOPIC, 0, offset, at, row.key, frame(SCHEMA_ID, row.payload), headers)
            )
            return
        async with self.databases[to.name].transaction() as db:
            if await claim(db, to.name, [(row.event_id, 0)]):
                await to.handlers[type(event)]([event], db)
            await advance(db, to.name, event.TOPIC, 0, offset + 1, BatchCounts(received=1, applied=1))

    async def park(self, consumer: str, record: Record) -> None:
        """Lets the consumer read the record and park it, and sends the dead letter to the service that stores it."""
        async with self.databases[consumer].transaction() as db:
            await park(db, consumer, [Failed(record, ValueError("a test refuses it"))])
            counts = BatchCounts(received=1, parked=1)
            await advance(db, consumer, record.topic, record.partition, record.offset + 1, counts)
            [row] = await db.execute(
                text("SELECT * FROM outbox WHERE published_at IS NULL AND topic LIKE '%.dlq'")
            )
            offset = self.offsets[row.topic]
            self.offsets[row.topic] += 1
            await db.execute(SENT, {"offset": offset, "id": row.id})
        sent = Record(
            row.topic, 0, offset, record.timestamp_ms, row.key, row.payload, load_headers(row.headers)
        )
        await store(self.databases["dead_letters"], sent, schemas=NoSchemas())


class NoSchemas:
    """A registry without schemas, so that dead letters are stored undecoded."""

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        raise UnknownSchemaId(f"schema {schema_id}")

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        raise UnknownSchemaId(f"schema {schema_id} of {subject}")


@dataclass(frozen=True)
class Honest:
    """Names the template databases of a system in which everything was delivered, and its orders by outcome."""

    names: Mapping[str, str]
    offsets: Mapping[str, int]
    orders: Mapping[str, str]


def event_of(row: Row[*tuple[Any, ...]]) -> Event:
    event_type = TYPES[row.type]
    record = schemaless_reader(BytesIO(row.payload), parsed_schema(event_type), None)
    return event_type.from_record(record)  # type: ignore[arg-type]


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


async def live(simulated: SimulatedSystem, names: Mapping[str, str]) -> Honest:
    orders = {
        "shipped": await simulated.order(),
        "declined": await simulated.order(card="tok_declined"),
        "sold_out": await simulated.order("sold-out-poster"),
        "unpaid": await simulated.order(card=None),
        "paid": await simulated.order(card=None),
        "called_off": await simulated.order(),
    }
    await simulated.cancel(orders["called_off"])
    await simulated.deliver()
    await simulated.pay(orders["paid"])
    await simulated.deliver()
    await simulated.close()
    return Honest(names, simulated.offsets, orders)


def simulated_at(
    server: URL, names: Mapping[str, str], offsets: Mapping[str, int] | None = None
) -> SimulatedSystem:
    """`names`: service -> database."""
    return SimulatedSystem(
        {service: Database(named_url(server, name)) for service, name in names.items()},
        Counter(offsets or {}),
    )


async def create(server: URL, prefix: str) -> dict[str, str]:
    """Migrated databases, by service."""
    names = {service: f"{prefix}_{service}" for service in SERVICES}
    for service, name in names.items():
        await administer(server, f"CREATE DATABASE {name}")
        await migrate(load(service), named_url(server, name))
    return names


async def copy(server: URL, names: Mapping[str, str], suffix: str) -> dict[str, str]:
    for name in names.values():
        await administer(server, f"CREATE DATABASE {name}_{suffix} TEMPLATE {name}")
    return {service: f"{name}_{suffix}" for service, name in names.items()}


async def drop(server: URL, names: Iterable[str]) -> None:
    for name in names:
        await administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def of(report: Report, consumer: str) -> Account:
    return next(account for account in report.accounts if account.consumer == consumer)


async def placed(simulated: SimulatedSystem, order: str) -> str:
    """The id of its first fact."""
    wanted = f"SELECT event_id FROM outbox WHERE aggregate_id = '{order}' AND type = 'OrderPlaced'"
    return str((await simulated.run("orders", wanted))[0][0])
