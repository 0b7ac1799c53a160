"""Takes orders over HTTP: checked, priced from our own list, stored and announced in one transaction."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Response
from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.api import Db, Problem, create_api
from chassis.clock import milliseconds, now
from chassis.idempotency import Once
from chassis.outbox import publish
from schemas import OrderLine, OrderPlaced
from services.orders.bodies import Line, NewOrder, OrderPage, OrderShown, Product
from services.orders.domain import AlreadyDecided, Order, Status, cancel
from services.orders.service import UnknownOrder, lock, order_lines, order_rows, orders, products, save

app = create_api(orders)


@app.get("/products")
async def list_products(db: Db) -> list[Product]:
    rows = await db.execute(select(products).order_by(products.c.product_id))
    return [Product.model_validate(row) for row in rows.mappings()]


@app.post("/orders", status_code=201, response_model=OrderShown)
async def place_order(order: NewOrder, once: Once) -> Response:
    return await once(order, lambda db: accept(order, db))


@app.post("/orders/{order_id}/cancel", response_model=OrderShown)
async def cancel_order(order_id: UUID, once: Once) -> Response:
    return await once(None, lambda db: call_off(str(order_id), db))


@app.get("/orders/{order_id}")
async def show_order(order_id: UUID, db: Db) -> OrderShown:
    return await show(str(order_id), db)


@app.get("/orders")
async def list_orders(
    db: Db,
    flagged: bool | None = None,
    status: Status | None = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderPage:
    """Newest first. The next page: `before` = `next_before` of this one."""
    row = order_rows.c
    filters = {row.flagged: flagged, row.status: status}
    wanted = select(order_rows).where(
        *(column == value for column, value in filters.items() if value is not None)
    )
    if before is not None:
        wanted = wanted.where(row.order_id < str(before))
    page = await read(wanted.order_by(row.order_id.desc()).limit(limit), db)
    return OrderPage(orders=page, next_before=page[-1].order_id if len(page) == limit else None)


async def accept(new: NewOrder, db: AsyncConnection) -> OrderShown:
    lines = await price(new, db)
    placed = OrderPlaced(
        order_id=str(uuid7()),
        order_version=1,
        total_cents=sum(line.quantity * line.unit_price_cents for line in lines),
        lines=tuple(lines),
        occurred_at=milliseconds(now()),
        **new.model_dump(exclude={"lines"}),
    )
    order = Order(
        order_id=placed.order_id,
        customer_id=placed.customer_id,
        currency=placed.currency,
        total_cents=placed.total_cents,
    )
    row = asdict(order) | {"payment_method": placed.payment_method, "placed_at": placed.time}
    await db.execute(insert(order_rows), [row])
    await db.execute(insert(order_lines), [{"order_id": order.order_id, **asdict(line)} for line in lines])
    await publish(db, [placed])
    return OrderShown.model_validate(row | {"lines": [asdict(line) for line in lines]})


async def price(new: NewOrder, db: AsyncConnection) -> list[OrderLine]:
    """Prices are ours, never the client's."""
    named = [line.product_id for line in new.lines]
    found = {
        row.product_id: row
        for row in await db.execute(select(products).where(products.c.product_id.in_(named)))
    }
    for position, product_id in enumerate(named):
        if product_id not in found:
            raise Problem.of_field(f"lines[{position}].product_id", f"there is no product {product_id}")
        if found[product_id].currency != new.currency:
            raise Problem.of_field("currency", f"{product_id} is sold in {found[product_id].currency}")
    return [
        OrderLine(
            product_id=line.product_id,
            quantity=line.quantity,
            unit_price_cents=found[line.product_id].price_cents,
        )
        for line in sorted(new.lines, key=lambda line: line.product_id)
    ]


async def call_off(order_id: str, db: AsyncConnection) -> OrderShown:
    try:
        before = await lock(db, [order_id])
        await save(db, before, {order_id: cancel(before[order_id], "customer_request", now())})
    except UnknownOrder as unknown:
        raise not_found(order_id) from unknown
    except AlreadyDecided as decided:
        raise Problem(409, "too late to cancel", f"{decided}", order_id=order_id) from decided
    return await show(order_id, db)


async def show(order_id: str, db: AsyncConnection) -> OrderShown:
    if found := await read(select(order_rows).where(order_rows.c.order_id == order_id), db):
        return found[0]
    raise not_found(order_id)


async def read(wanted: Select[Any], db: AsyncConnection) -> list[OrderShown]:
    rows = (await db.execute(wanted)).mappings().all()
    of_these = select(order_lines).where(order_lines.c.order_id.in_([row["order_id"] for row in rows]))
    lines: dict[str, list[Line]] = {row["order_id"]: [] for row in rows}
    for line in (await db.execute(of_these.order_by(order_lines.c.product_id))).mappings():
        lines[line["order_id"]].append(Line.model_validate(line))
    return [OrderShown.model_validate({**row, "lines": lines[row["order_id"]]}) for row in rows]


def not_found(order_id: str) -> Problem:
    return Problem(404, "unknown order", f"There is no order {order_id}.", order_id=order_id)
