"""HTTP API of orders. `POST /orders` stores the order and publishes OrderPlaced in one transaction."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query, Response
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api, refusals, with_examples
from chassis.http.auth import Authenticated, Customer, Principal
from chassis.http.idempotency import Idempotent, share_transactions
from chassis.outbox.publish import publish
from chassis.timestamps import now
from services.orders import domain
from services.orders.domain import AlreadyDecided, Status
from services.orders.models import NEW_ORDERS, NewOrder, OrderPageResponse, OrderResponse, ProductResponse
from services.orders.placing import PlacedOrder, PriceList, place, price_list
from services.orders.responses import read
from services.orders.service import UnknownOrder, lock, save, service
from services.orders.tables import INSERT_LINES, INSERT_ORDERS, orders, products

app = create_api(
    service,
    "Takes orders, shows how far they are, and cancels them. It answers before any other service has seen the order.",
    {
        "orders": "The life of an order: placed, confirmed or cancelled, shipped.",
        "products": "What can be ordered.",
    },
)

UNKNOWN = {404: ("unknown order", "There is no order 0197a3c2-5d1e-7b44-9c1a-2f6e8d0b7a31.")}
NOT_CANCELLED = UNKNOWN | {409: ("too late to cancel", "It is confirmed already.")}

Prices = Annotated[PriceList, Depends(price_list)]
New = Annotated[NewOrder, with_examples(NEW_ORDERS)]


@app.post("/orders", status_code=201, response_model=OrderResponse, tags=["orders"], summary="Place an order")
async def place_order(customer: Customer, new: New, request: Idempotent, prices: Prices) -> Response:
    """Needs a customer's token, whose order it is. Prices are those of the price list. It is stored with its event.

    A card is charged by itself; an invoice waits for `POST /payments`.
    """
    order = place(new, customer.subject, prices)
    return await request.run_in_group(placing_group, new, order, order.event.order_id, order.response())


async def store(placed: Sequence[PlacedOrder], db: AsyncConnection) -> None:
    """Stores the orders of all requests that share this transaction, and publishes that they were placed."""
    await INSERT_ORDERS.of_rows(db, [order.row() for order in placed])
    await INSERT_LINES.of_rows(db, [line for order in placed for line in order.lines()])
    await publish(db, [order.event for order in placed])


placing_group = share_transactions(app, store)


@app.post(
    "/orders/{order_id}/cancel",
    response_model=OrderResponse,
    responses=refusals(NOT_CANCELLED),
    tags=["orders"],
    summary="Cancel an order that is not yet decided",
)
async def cancel_order(principal: Authenticated, order_id: UUID, request: Idempotent) -> Response:
    """Needs the token of its customer or of an operator. Every service then undoes its own part."""
    return await request.run(None, cancel, str(order_id), principal)


async def cancel(db: AsyncConnection, order_id: str, principal: Principal) -> OrderResponse:
    try:
        before = await lock(db, [order_id])
        if not principal.may_act_for(before[order_id].customer_id):
            raise not_found(order_id)
        await save(db, before, {order_id: domain.cancel(before[order_id], "customer_request", now())})
    except UnknownOrder as unknown:
        raise not_found(order_id) from unknown
    except AlreadyDecided as decided:
        raise Problem(409, "too late to cancel", f"{decided}", order_id=order_id) from decided
    return await show(db, order_id, principal)


@app.get("/orders/{order_id}", responses=refusals(UNKNOWN), tags=["orders"], summary="Show an order")
async def show_order(principal: Authenticated, order_id: UUID, db: Db) -> OrderResponse:
    """Needs the token of its customer or of an operator. Payment, stock and fraud are what events have told so far."""
    return await show(db, str(order_id), principal)


async def flagged_of_query(principal: Authenticated, flagged: bool | None = None) -> bool | None:
    if flagged is not None and not principal.is_operator:
        raise Problem(403, "forbidden", "Only operators may ask which orders are flagged.")
    return flagged


@app.get("/orders", tags=["orders"], summary="List orders")
async def list_orders(
    principal: Authenticated,
    flagged: Annotated[bool | None, Depends(flagged_of_query)],
    db: Db,
    status: Status | None = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> OrderPageResponse:
    """Lists a customer's own orders, or all for an operator, newest first; the next page: `before` = `next_before`."""
    filters = {orders.c.flagged: flagged, orders.c.status: status}
    wanted = visible_to(principal).where(
        *(column == value for column, value in filters.items() if value is not None)
    )
    if before is not None:
        wanted = wanted.where(orders.c.order_id < str(before))
    page = await read(db, wanted.order_by(orders.c.order_id.desc()).limit(limit))
    return OrderPageResponse(orders=page, next_before=page[-1].order_id if len(page) == limit else None)


@app.get("/products", tags=["products"], summary="Show the price list")
async def list_products(db: Db) -> list[ProductResponse]:
    """Needs no token."""
    rows = await db.execute(select(products).order_by(products.c.product_id))
    return [ProductResponse.model_validate(row) for row in rows.mappings()]


async def show(db: AsyncConnection, order_id: str, principal: Principal) -> OrderResponse:
    if found := await read(db, visible_to(principal).where(orders.c.order_id == order_id)):
        return found[0]
    raise not_found(order_id)


def visible_to(principal: Principal) -> Select[Any]:
    """Selects a customer's own orders, and all for an operator."""
    every = select(orders)
    return every if principal.is_operator else every.where(orders.c.customer_id == principal.subject)


def not_found(order_id: str) -> Problem:
    return Problem(404, "unknown order", f"There is no order {order_id}.", order_id=order_id)
