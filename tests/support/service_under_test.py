"""One service on a real database, which handles arrivals as its worker would, and the rows of each order after that."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from sqlalchemy import Column, select

import schemas
from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import mark_parked, parked
from chassis.database import Database
from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.events.topics import redrive_topic
from chassis.service import Service
from schemas import Event
from tests.support import sample_events
from tests.support.arrivals import Arrival, Delivery
from tests.support.handling import KnownSchemas
from tests.support.order_histories import History, OrderSteps, Request, about, aliases, place

End = dict[str, list[Any]]
"""The rows of an order by table, and the events about it under `published`."""


class ServiceUnderTest:
    """Numbers its orders, so that one database serves any number of them."""

    def __init__(self, service: Service, database: Database) -> None:
        self.service, self.database = service, database
        self._processor = EventProcessor(service, database, KnownSchemas())
        self._offsets = Counter[str]()
        self._orders = 0

    def handles(self, history: History) -> bool:
        return any(type(step) in self.service.handlers for step in history.steps)

    async def begin(self, history: History) -> OrderSteps:
        """Begins a new order with this history and returns the steps that concern the service."""
        self._orders += 1
        order_id = f"order-{self._orders:05}"
        if self.service.name == "orders":
            async with self.database.transaction() as db:
                await place(about(order_id, history.placed), db)
        return history.steps_of(self.service, order_id)

    async def handle(self, arrivals: Sequence[Arrival]) -> None:
        for batch in _batches(arrivals, self.service.name):
            first = batch[0]
            if isinstance(first.step, Request):
                await self._answer(first.order_id, first.step)
            elif first.delivery is Delivery.PARKED:
                await self._park(first.step)
            else:
                records = [self._record(arrival) for arrival in batch]
                await self._processor.process(records, asyncio.Event())
        assert not await sample_events.fetch(self.database, select(parked))

    async def ends(self, histories: Mapping[str, History]) -> dict[str, End]:
        """Returns the rows and events by order id, without columns that the database fills in."""
        events_published = await sample_events.published(self.database)
        tables = {
            table.name: await sample_events.fetch(self.database, select(*filter(_is_compared, table.columns)))
            for table in self.service.metadata.tables.values()
        }
        ends: dict[str, End] = {}
        for order_id, history in histories.items():
            events = [{"type": e.NAME, **e.to_record()} for e in events_published if e.key == order_id]
            open = history.open.get(self.service.name, frozenset())
            rows = {name: sorted(_about(order_id, found, open), key=repr) for name, found in tables.items()}
            ends[order_id] = rows | {"published": list(_about(order_id, events, open))}
        return ends

    async def _answer(self, order_id: str, request: Request) -> None:
        async with self.database.transaction() as db:
            await request.answer(order_id, request.time, db)

    async def _park(self, event: Event) -> None:
        async with self.database.transaction() as db:
            await mark_parked(db, self.service.name, [(_id_of(event), 0)])

    def _record(self, arrival: Arrival) -> Record:
        event, topic = arrival.step, topic_of(arrival, self.service.name)
        assert isinstance(event, Event)
        headers = {"ce_type": event.NAME, "ce_id": str(_id_of(event)), "ce_subject": event.key}
        if arrival.delivery is Delivery.REDRIVEN:
            headers["dlq_redrive"] = "1"
        encoded = [(name, text.encode()) for name, text in headers.items()]
        value = frame(schemas.EVENTS.index(type(event)), encode(event))
        offset, self._offsets[topic] = self._offsets[topic], self._offsets[topic] + 1
        return Record(topic, 0, offset, event.occurred_at, event.key.encode(), value, encoded)


def topic_of(arrival: Arrival, service: str) -> str:
    """Returns the topic; neighbours of one topic can be one batch."""
    if isinstance(arrival.step, Request) or arrival.delivery is Delivery.PARKED:
        return ""
    topic = arrival.step.TOPIC
    return redrive_topic(topic, service) if arrival.delivery is Delivery.REDRIVEN else topic


def _batches(arrivals: Sequence[Arrival], service: str) -> Iterator[list[Arrival]]:
    batch: list[Arrival] = []
    for arrival in arrivals:
        if batch and (batch[-1].ends_a_batch or _apart(batch[-1], arrival, service)):
            yield batch
            batch = []
        batch.append(arrival)
    if batch:
        yield batch


def _apart(one: Arrival, other: Arrival, service: str) -> bool:
    topics = {topic_of(one, service), topic_of(other, service)}
    return len(topics) > 1 or topics == {""}


def _id_of(event: Event) -> Any:
    return uuid5(NAMESPACE_OID, f"{event.NAME} {event.key}")


def _is_compared(column: Column[Any]) -> bool:
    return column.identity is None and column.server_default is None


def _about(order_id: str, rows: Sequence[dict[str, Any]], open: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows that contain the order id, with a neutral name in its place."""
    for row in rows:
        if order_id in repr(row):
            yield {name: _anonymous(value, order_id) for name, value in row.items() if name not in open}


def _anonymous(value: Any, order_id: str) -> Any:
    if not isinstance(value, str):
        return value
    for id, alias in aliases(order_id).items():
        value = value.replace(id, alias)
    return value
