"""Reserves the stock of a placed order, all of its lines or none, and puts it back if the order is cancelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.publish import publish
from chassis.service import Service
from schemas import (
    OrderCancelled,
    OrderPlaced,
    ReservedLine,
    Shortage,
    StockRejected,
    StockReleased,
    StockReserved,
)
from services.inventory import tables
from services.inventory.domain import Allocation, Units, allocate, total

service = Service("inventory", tables.metadata, topic="inventory", retention=[tables.RETENTION])

AnOrder = TypeVar("AnOrder", OrderPlaced, OrderCancelled)


@service.on(OrderPlaced)
async def reserve(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Reserves in the order of arrival; an order whose cancellation arrived first gets nothing."""
    fresh = await open_reservations(db, orders, "reserved")
    wanted = {
        order.order_id: total((line.product_id, line.quantity) for line in order.lines) for order in fresh
    }
    on_hand = await lock_stock(db, {product_id for units in wanted.values() for product_id in units})
    allocation = allocate(wanted, on_hand)
    await change_stock(db, {product_id: -quantity for product_id, quantity in allocation.taken.items()})
    await insert_lines(db, allocation.held)
    await close(
        db,
        "rejected",
        {order.order_id: order.time for order in fresh if order.order_id in allocation.refused},
    )
    await publish(db, [outcome(order, allocation) for order in fresh])


@service.on(OrderCancelled)
async def release(cancelled: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    """Puts back what was reserved; stores a void reservation for an order not known yet, so it reserves nothing."""
    by_id = {order.order_id: order for order in cancelled}
    await open_reservations(db, list(by_id.values()), "void")
    held = await lock_reserved(db, by_id)
    await change_stock(db, total(line for units in held.values() for line in units.items()))
    await close(db, "released", {order_id: by_id[order_id].time for order_id in held})
    await publish(db, [released(by_id[order_id], units) for order_id, units in held.items()])


async def open_reservations(db: AsyncConnection, orders: Sequence[AnOrder], status: str) -> list[AnOrder]:
    """Inserts a reservation per order and returns the orders that had none; a race has one winner."""
    by_id = {order.order_id: order for order in orders}
    rows = [reservation(order, status) for _, order in sorted(by_id.items())]
    new = {row.order_id for row in await tables.OPEN_RESERVATIONS.of_rows(db, rows)}
    return [order for order_id, order in by_id.items() if order_id in new]


def reservation(order: OrderPlaced | OrderCancelled, status: str) -> dict[str, object]:
    return {"order_id": order.order_id, "status": status, "changed_at": order.time}


async def lock_stock(db: AsyncConnection, product_ids: Iterable[str]) -> dict[str, int]:
    """Returns the units on hand and locks their rows, by product id to avoid deadlocks."""
    rows = await tables.LOCK_STOCK(db, ids=sorted(product_ids))
    return {row.product_id: row.on_hand for row in rows}


async def lock_reserved(db: AsyncConnection, order_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns the reserved units by order and product and locks them; orders without a reservation are left out."""
    held: dict[str, dict[str, int]] = {}
    for order_id, product_id, quantity in await tables.LOCK_RESERVED_LINES(db, ids=sorted(order_ids)):
        held.setdefault(order_id, {})[product_id] = quantity
    return held


async def change_stock(db: AsyncConnection, change: Units) -> None:
    if change:
        rows = [{"product_id": product_id, "on_hand": change[product_id]} for product_id in sorted(change)]
        await tables.CHANGE_STOCK.of_rows(db, rows)


async def insert_lines(db: AsyncConnection, held: Mapping[str, Units]) -> None:
    lines = [
        {"order_id": order_id, "product_id": product_id, "quantity": quantity}
        for order_id, units in held.items()
        for product_id, quantity in units.items()
    ]
    if lines:
        await tables.INSERT_LINES.of_rows(db, lines)


async def close(db: AsyncConnection, status: str, times: Mapping[str, datetime]) -> None:
    if times:
        rows = [{"order_id": id, "status": status, "changed_at": times[id]} for id in sorted(times)]
        await tables.CLOSE_RESERVATIONS.of_rows(db, rows)


def outcome(order: OrderPlaced, allocation: Allocation) -> StockReserved | StockRejected:
    """Returns the event that says whether the order's stock is reserved."""
    order_id, occurred_at = order.order_id, order.occurred_at
    if refusal := allocation.refused.get(order_id):
        shortages = tuple(Shortage(**asdict(shortage)) for shortage in refusal)
        return StockRejected(
            order_id=order_id, reservation_version=1, shortages=shortages, occurred_at=occurred_at
        )
    lines = reserved_lines(allocation.held[order_id])
    return StockReserved(order_id=order_id, reservation_version=1, lines=lines, occurred_at=occurred_at)


def released(order: OrderCancelled, units: Units) -> StockReleased:
    return StockReleased(
        order_id=order.order_id,
        reservation_version=2,
        lines=reserved_lines(units),
        occurred_at=order.occurred_at,
    )


def reserved_lines(units: Units) -> tuple[ReservedLine, ...]:
    return tuple(
        ReservedLine(product_id=product_id, quantity=units[product_id]) for product_id in sorted(units)
    )
