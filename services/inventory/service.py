"""Inventory reserves the stock of a placed order, all of it or none, and puts it back if the order is cancelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TypeVar

from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, any_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import DateTime, Integer, Text

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.statements import Statement, arrays, ids, insert_rows
from schemas import (
    OrderCancelled,
    OrderPlaced,
    ReservedLine,
    Shortage,
    StockRejected,
    StockReleased,
    StockReserved,
)
from services.inventory.domain import Allocation, Units, allocate, total

AnOrder = TypeVar("AnOrder", OrderPlaced, OrderCancelled)

inventory = Service("inventory", topic="inventory")

stock = Table(
    "stock",
    inventory.metadata,
    Column("product_id", Text, primary_key=True),
    Column("initial", Integer, nullable=False),
    Column("on_hand", Integer, nullable=False),
    CheckConstraint("on_hand >= 0", name="stock_is_never_negative"),
)

reservations = Table(
    "reservations",
    inventory.metadata,
    Column("order_id", Text, primary_key=True),
    Column("status", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)

reservation_lines = Table(
    "reservation_lines",
    inventory.metadata,
    Column("order_id", Text, ForeignKey("reservations.order_id"), primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_is_positive"),
)

_asked = arrays(reservations)
OPEN_ONCE = Statement(
    upsert(reservations)
    .from_select(_asked.c.keys(), select(_asked))
    .on_conflict_do_nothing()
    .returning(reservations.c.order_id)
)
LOCK_STOCK = Statement(
    select(stock.c.product_id, stock.c.on_hand)
    .where(stock.c.product_id == any_(ids()))
    .order_by(stock.c.product_id)
    .with_for_update()
)
LOCK_HELD = Statement(
    select(reservation_lines.c.order_id, reservation_lines.c.product_id, reservation_lines.c.quantity)
    .join(reservations)
    .where(reservation_lines.c.order_id == any_(ids()), reservations.c.status == "reserved")
    .order_by(reservation_lines.c.order_id, reservation_lines.c.product_id)
    .with_for_update()
)
_moved = arrays(stock, "product_id", "on_hand")
CHANGE_STOCK = Statement(
    update(stock)
    .where(stock.c.product_id == _moved.c.product_id)
    .values(on_hand=stock.c.on_hand + _moved.c.on_hand)
)
KEEP_LINES = insert_rows(reservation_lines)
_closed = arrays(reservations)
CLOSE = Statement(
    update(reservations)
    .where(reservations.c.order_id == _closed.c.order_id)
    .values(status=_closed.c.status, changed_at=_closed.c.changed_at)
)


@inventory.on(OrderPlaced)
async def reserve(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Serves the orders as they come; one whose cancellation overtook it gets nothing."""
    fresh = await open_reservations(db, orders, "reserved")
    wanted = {
        order.order_id: total((line.product_id, line.quantity) for line in order.lines) for order in fresh
    }
    on_hand = await lock_stock(db, {product_id for units in wanted.values() for product_id in units})
    allocation = allocate(wanted, on_hand)
    await change_stock(db, {product_id: -quantity for product_id, quantity in allocation.taken.items()})
    await keep_lines(db, allocation.held)
    await close(
        db,
        "rejected",
        {order.order_id: order.time for order in fresh if order.order_id in allocation.refused},
    )
    await publish(db, [answer(order, allocation) for order in fresh])


@inventory.on(OrderCancelled)
async def release(cancelled: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    """Puts back what was reserved; an order not heard of yet is marked, so that nothing will be reserved for it."""
    by_id = {order.order_id: order for order in cancelled}
    await open_reservations(db, list(by_id.values()), "void")
    held = await lock_held(db, by_id)
    await change_stock(db, total(line for units in held.values() for line in units.items()))
    await close(db, "released", {order_id: by_id[order_id].time for order_id in held})
    await publish(db, [released(by_id[order_id], units) for order_id, units in held.items()])


async def open_reservations(db: AsyncConnection, orders: Sequence[AnOrder], status: str) -> list[AnOrder]:
    """Returns the orders that had no row yet; it is theirs now, whatever else arrives at the same time."""
    by_id = {order.order_id: order for order in orders}
    rows = [reservation(order, status) for _, order in sorted(by_id.items())]
    new = {row.order_id for row in await OPEN_ONCE.of_rows(db, rows)}
    return [order for order_id, order in by_id.items() if order_id in new]


def reservation(order: OrderPlaced | OrderCancelled, status: str) -> dict[str, object]:
    return {"order_id": order.order_id, "status": status, "changed_at": order.time}


async def lock_stock(db: AsyncConnection, product_ids: Iterable[str]) -> dict[str, int]:
    """Units on hand, the rows locked in the order of their ids so that nobody deadlocks."""
    rows = await LOCK_STOCK(db, ids=sorted(product_ids))
    return {row.product_id: row.on_hand for row in rows}


async def lock_held(db: AsyncConnection, order_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """The units held for each of the orders; one that holds nothing is left out."""
    held: dict[str, dict[str, int]] = {}
    for order_id, product_id, quantity in await LOCK_HELD(db, ids=sorted(order_ids)):
        held.setdefault(order_id, {})[product_id] = quantity
    return held


async def change_stock(db: AsyncConnection, change: Units) -> None:
    if change:
        rows = [{"product_id": product_id, "on_hand": change[product_id]} for product_id in sorted(change)]
        await CHANGE_STOCK.of_rows(db, rows)


async def keep_lines(db: AsyncConnection, held: Mapping[str, Units]) -> None:
    lines = [
        {"order_id": order_id, "product_id": product_id, "quantity": quantity}
        for order_id, units in held.items()
        for product_id, quantity in units.items()
    ]
    if lines:
        await KEEP_LINES.of_rows(db, lines)


async def close(db: AsyncConnection, status: str, times: Mapping[str, datetime]) -> None:
    if times:
        rows = [{"order_id": id, "status": status, "changed_at": times[id]} for id in sorted(times)]
        await CLOSE.of_rows(db, rows)


def answer(order: OrderPlaced, allocation: Allocation) -> StockReserved | StockRejected:
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
