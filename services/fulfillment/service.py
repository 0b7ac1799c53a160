"""Fulfillment ships an order once it knows what was ordered and that it is confirmed; never a cancelled one."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Column, Table, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import JSON, DateTime, Text

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.statements import Statement, arrays
from chassis.timestamps import milliseconds
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced, OrderShipped
from services.fulfillment.domain import label

fulfillment = Service("fulfillment", topic="shipments")

shipments = Table(
    "shipments",
    fulfillment.metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("contents", JSON),
    Column("placed_at", DateTime(timezone=True)),
    Column("confirmed_at", DateTime(timezone=True)),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("shipped_at", DateTime(timezone=True)),
    Column("shipment_id", Text),
    Column("tracking_code", Text),
)


def collect(*names: str) -> Statement:
    """Returns a statement that adds these columns to the rows of orders, and returns the rows, locked."""
    columns = ("order_id", "customer_id", *names)
    given = arrays(shipments, *columns)
    new = insert(shipments).from_select(columns, select(given))
    added = {name: new.excluded[name] for name in columns[1:]}
    collected = new.on_conflict_do_update(index_elements=["order_id"], set_=added)
    return Statement(collected.returning(*shipments.c))


COLLECT = {
    frozenset(("order_id", "customer_id", *names)): collect(*names)
    for names in (("contents", "placed_at"), ("confirmed_at",), ("cancelled_at",))
}
_shipped = arrays(shipments, "order_id", "shipment_id", "tracking_code", "shipped_at")
SHIP = Statement(
    update(shipments)
    .where(shipments.c.order_id == _shipped.c.order_id)
    .values({name: _shipped.c[name] for name in ("shipment_id", "tracking_code", "shipped_at")})
)


@fulfillment.on(OrderPlaced)
async def pack(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await gather(
        db, [{**about(order), "contents": contents(order), "placed_at": order.time} for order in orders]
    )


@fulfillment.on(OrderConfirmed)
async def clear(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
    await gather(db, [{**about(order), "confirmed_at": order.time} for order in orders])


@fulfillment.on(OrderCancelled)
async def hold(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await gather(db, [{**about(order), "cancelled_at": order.time} for order in orders])


def about(order: OrderPlaced | OrderConfirmed | OrderCancelled) -> dict[str, object]:
    return {"order_id": order.order_id, "customer_id": order.customer_id}


def contents(order: OrderPlaced) -> list[dict[str, object]]:
    return [{"product_id": line.product_id, "quantity": line.quantity} for line in order.lines]


async def gather(db: AsyncConnection, news: Sequence[dict[str, object]]) -> None:
    """One row per order collects what arrives, in any order; the event that completes it ships it."""
    by_id = {str(row["order_id"]): row for row in news}
    collected = await COLLECT[frozenset(news[0])].of_rows(db, [by_id[id] for id in sorted(by_id)])
    shipped = [
        hand_over(row.order_id, row.customer_id, max(row.placed_at, row.confirmed_at))
        for row in collected
        if row.placed_at and row.confirmed_at and not (row.cancelled_at or row.shipped_at)
    ]
    if shipped:
        await SHIP.of_rows(db, [stamp(order) for order in shipped])
        await publish(db, shipped)


def hand_over(order_id: str, customer_id: str, at: datetime) -> OrderShipped:
    """The same label and the same (event) time, however often it is made out."""
    return OrderShipped(
        order_id=order_id,
        shipment_version=1,
        customer_id=customer_id,
        **asdict(label(order_id)),
        occurred_at=milliseconds(at),
    )


def stamp(order: OrderShipped) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "shipment_id": order.shipment_id,
        "tracking_code": order.tracking_code,
        "shipped_at": order.time,
    }
