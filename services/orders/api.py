"""Takes orders over HTTP: checked, priced from our own list, stored and announced in one transaction."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator, ValidationInfo
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from chassis.api import Db, Problem, create_api
from chassis.idempotency import Once
from chassis.outbox import publish
from schemas import OrderLine, OrderPlaced
from services.orders.domain import AlreadyDecided, Order, Payment, Reason, Status, Stock, cancel
from services.orders.service import UnknownOrder, lock, order_lines, order_rows, orders, products, save

app = create_api(orders)

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class NewLine(BaseModel):
    model_config = ConfigDict(extra="forbid")
    product_id: Name
    quantity: int = Field(ge=1, le=1000, strict=True)


class NewOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    customer_id: Name
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    payment_method: Literal["card", "invoice"]
    card_token: Name | None = Field(default=None, validate_default=True)
    lines: list[NewLine] = Field(min_length=1, max_length=50)

    @field_validator("card_token")
    @classmethod
    def fits_the_payment_method(cls, token: str | None, order: ValidationInfo) -> str | None:
        if order.data.get("payment_method") == "card" and token is None:
            raise ValueError("a card payment needs the token of a card")
        if order.data.get("payment_method") == "invoice" and token is not None:
            raise ValueError("an invoice has no card")
        return token

    @field_validator("lines")
    @classmethod
    def names_each_product_once(cls, lines: list[NewLine]) -> list[NewLine]:
        if len({line.product_id for line in lines}) < len(lines):
            raise ValueError("a product may be named once; add up its quantity")
        return lines


class Line(BaseModel):
    product_id: str
    quantity: int
    unit_price_cents: int


class OrderSummary(BaseModel):
    order_id: str
    status: Status
    version: int
    customer_id: str
    currency: str
    total_cents: int
    payment_method: str
    cancel_reason: Reason | None
    payment: Payment
    stock: Stock
    fraud_score: int | None = None
    flagged: bool | None = None
    placed_at: datetime
    payment_at: datetime | None
    stock_at: datetime | None
    decided_at: datetime | None
    shipped_at: datetime | None


class OrderInFull(OrderSummary):
    lines: list[Line]


class OrderPage(BaseModel):
    orders: list[OrderSummary]
    next_before: str | None


class Product(BaseModel):
    product_id: str
    name: str
    price_cents: int
    currency: str


@app.post("/orders", status_code=201, response_model=OrderInFull)
async def place_order(order: NewOrder, once: Once) -> Response:
    return await once(order, lambda db: accept(order, db))


@app.get("/orders/{order_id}")
async def show_order(order_id: UUID, db: Db) -> OrderInFull:
    return await find(str(order_id), db)


@app.get("/orders")
async def list_orders(
    db: Db,
    flagged: bool | None = None,
    status: Status | None = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderPage:
    """Newest first; the next page is `before` the last order of this one."""
    wanted = select(order_rows).order_by(order_rows.c.order_id.desc()).limit(limit)
    if flagged is not None:
        wanted = wanted.where(order_rows.c.flagged.is_(flagged))
    if status is not None:
        wanted = wanted.where(order_rows.c.status == status)
    if before is not None:
        wanted = wanted.where(order_rows.c.order_id < str(before))
    found = [OrderSummary.model_validate(row) for row in (await db.execute(wanted)).mappings()]
    return OrderPage(orders=found, next_before=found[-1].order_id if len(found) == limit else None)


@app.post("/orders/{order_id}/cancel", response_model=OrderInFull)
async def cancel_order(order_id: UUID, once: Once) -> Response:
    return await once(None, lambda db: call_off(str(order_id), db))


@app.get("/products")
async def list_products(db: Db) -> list[Product]:
    rows = await db.execute(select(products).order_by(products.c.product_id))
    return [Product.model_validate(row) for row in rows.mappings()]


async def accept(order: NewOrder, db: AsyncConnection) -> OrderInFull:
    lines = await price(order, db)
    placed = OrderPlaced(
        order_id=str(uuid7()),
        order_version=1,
        customer_id=order.customer_id,
        currency=order.currency,
        total_cents=sum(line.quantity * line.unit_price_cents for line in lines),
        payment_method=order.payment_method,
        card_token=order.card_token,
        lines=tuple(lines),
        occurred_at=time.time_ns() // 1_000_000,
    )
    ...
