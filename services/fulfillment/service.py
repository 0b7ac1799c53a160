"""Ships an order once its lines are known and it is confirmed; never a cancelled one."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.timestamps import milliseconds
from schemas import OrderCancelled, OrderConfirmed, OrderPlaced, OrderShipped
from services.fulfillment.domain import label
from services.fulfillment.tables import COLLECT, RETENTION, SHIP_ORDERS, metadata

service = Service("fulfillment", metadata, topic="shipments", retention=[RETENTION])


@service.on(OrderPlaced)
async def pack(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    packed = [{**ids(order), "contents": contents(order), "placed_at": order.time} for order in orders]
    await ship_complete(db, packed)


@service.on(OrderConfirmed)
async def approve(orders: Sequence[OrderConfirmed], db: AsyncConnection) -> None:
    await ship_complete(db, [{**ids(order), "confirmed_at": order.time} for order in orders])


@service.on(OrderCancelled)
async def hold(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await ship_complete(db, [{**ids(order), "cancelled_at": order.time} for order in orders])


async def ship_complete(db: AsyncConnection, changes: Sequence[dict[str, object]]) -> None:
    """Adds what an event says to its order's row, and ships the orders that are complete now.

    The events of an order arrive in any order; whichever completes the row ships it.
    """
    by_id = {str(row["order_id"]): row for row in changes}
    rows = await COLLECT[frozenset(changes[0])].of_rows(db, [by_id[id] for id in sorted(by_id)])
    shipped = [
        shipment(row.order_id, row.customer_id, max(row.placed_at, row.confirmed_at))
        for row in rows
        if row.placed_at and row.confirmed_at and not (row.cancelled_at or row.shipped_at)
    ]
    if shipped:
        await SHIP_ORDERS.of_rows(db, [shipped_row(order) for order in shipped])
        await publish(db, shipped)


def shipment(order_id: str, customer_id: str, at: datetime) -> OrderShipped:
    """Returns the event of a shipment; the same order always gives the same label and the same event time."""
    return OrderShipped(
        order_id=order_id,
        shipment_version=1,
        customer_id=customer_id,
        **asdict(label(order_id)),
        occurred_at=milliseconds(at),
    )


def ids(order: OrderPlaced | OrderConfirmed | OrderCancelled) -> dict[str, object]:
    return {"order_id": order.order_id, "customer_id": order.customer_id}


def contents(order: OrderPlaced) -> list[dict[str, object]]:
    return [{"product_id": line.product_id, "quantity": line.quantity} for line in order.lines]


def shipped_row(order: OrderShipped) -> dict[str, object]:
    return {
        "order_id": order.order_id,
        "shipment_id": order.shipment_id,
        "tracking_code": order.tracking_code,
        "shipped_at": order.time,
    }
