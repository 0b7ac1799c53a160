"""Fulfillment ships an order once it knows what was ordered and that it is confirmed; never a cancelled one."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Column, Table, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import JSON, DateTime, Text

from chassis.clock import milliseconds
from chassis.outbox import publish
from chassis.service import Service
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
    """One row per order collects what is heard, in any order; whoever completes it ships it."""
    by_id = {str(row["order_id"]): row for row in news}
    new = insert(shipments)
    heard = {name: new.excluded[name] for name in news[0] if name != "order_id"}
    collect = new.on_conflict_do_update(index_elements=["order_id"], set_=heard)
    await db.execute(collect, [by_id[order_id] for order_id in sorted(by_id)])
    await ship(db, sorted(by_id))


async def ship(db: AsyncConnection, order_ids: Sequence[str]) -> None:
    row = shipments.c
    complete = (
        select(row.order_id, row.customer_id, func.greatest(row.placed_at, row.confirmed_at))
        .where(row.order_id.in_(order_ids), row.placed_at.is_not(None), row.confirmed_at.is_not(None))
        .where(row.cancelled_at.is_(None), row.shipped_at.is_(None))
        .order_by(row.order_id)
        .with_for_update()
    )
    if shipped := [hand_over(*found) for found in await db.execute(complete)]:
        await db.execute(
            update(shipments).where(row.order_id == bindparam("id")), [stamp(order) for order in shipped]
        )
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
        "id": order.order_id,
        "shipment_id": order.shipment_id,
        "tracking_code": order.tracking_code,
        "shipped_at": order.time,
    }
