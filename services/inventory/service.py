"""Inventory reserves the stock of a placed order, all of it or none, and puts it back if the order is cancelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import CheckConstraint, Column, ForeignKey, Table, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import DateTime, Integer, Text

from chassis.outbox import publish
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
from services.inventory.domain import Allocation, Units, allocate, total

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

open_once = upsert(reservations).on_conflict_do_nothing(index_elements=["order_id"])


@inventory.on(OrderPlaced)
async def reserve(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Serves the orders as they come; one whose cancellation overtook it gets nothing."""
    fresh = await open_reservations(db, orders)
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
    await db.execute(open_once, [reservation(order, "void") for _, order in sorted(by_id.items())])
    held = await lock_held(db, by_id)
    await change_stock(db, total(line for units in held.values() for line in units.items()))
    await close(db, "released", {order_id: by_id[order_id].time for order_id in held})
    await publish(db, [released(by_id[order_id], units) for order_id, units in held.items()])


async def open_reservations(db: AsyncConnection, orders: Sequence[OrderPlaced]) -> list[OrderPlaced]:
    """The orders that had no row yet; it is theirs now, whatever else arrives at the same time."""
    by_id = {order.order_id: order for order in orders}
    rows = [reservation(order, "reserved") for _, order in sorted(by_id.items())]
    new = set((await db.execute(open_once.returning(reservations.c.order_id), rows)).scalars())
    return [order for order_id, order in by_id.items() if order_id in new]


def reservation(order: OrderPlaced | OrderCancelled, status: str) -> dict[str, object]:
    return {"order_id": order.order_id, "status": status, "changed_at": order.time}


async def lock_stock(db: AsyncConnection, product_ids: Iterable[str]) -> dict[str, int]:
    """Units on hand, the rows locked in the order of their ids so that nobody deadlocks."""
    wanted = select(stock.c.product_id, stock.c.on_hand).where(stock.c.product_id.in_(sorted(product_ids)))
    rows = await db.execute(wanted.order_by(stock.c.product_id).with_for_update())
    return dict(rows.all())


async def lock_held(db: AsyncConnection, order_ids: Iterable[str]) -> dict[str, dict[str, int]]:
    """The units held for each of the orders; one that holds nothing is left out."""
    line = reservation_lines.c
    holding = (
        select(line.order_id, line.product_id, line.quantity)
        .join(reservations)
        .where(line.order_id.in_(sorted(order_ids)), reservations.c.status == "reserved")
        .order_by(line.order_id, line.product_id)
        .with_for_update()
    )
    held: dict[str, dict[str, int]] = {}
    for order_id, product_id, quantity in await db.execute(holding):
        held.setdefault(order_id, {})[product_id] = quantity
    return held


async def change_stock(db: AsyncConnection, change: Units) -> None:
    if change:
        moved = update(stock).where(stock.c.product_id == bindparam("id"))
        rows = [{"id": product_id, "units": change[product_id]} for product_id in sorted(change)]
        await db.execute(moved.values(on_hand=stock.c.on_hand + bindparam("units")), rows)


async def keep_lines(db: AsyncConnection, held: Mapping[str, Units]) -> None:
    if held:
        lines = [(order_id, *line) for order_id, units in held.items() for line in units.items()]
        rows = [dict(zip(("order_id", "product_id", "quantity"), line, strict=True)) for line in lines]
        await db.execute(insert(reservation_lines), rows)


async def close(db: AsyncConnection, status: str, times: Mapping[str, datetime]) -> None:
    if times:
        rows = [{"id": order_id, "status": status, "changed_at": at} for order_id, at in times.items()]
        await db.execute(update(reservations).where(reservations.c.order_id == bindparam("id")), rows)


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
