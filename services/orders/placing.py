"""Checks a new order against the price list and prices it, before anything is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from sqlalchemy import Row, select
from starlette.requests import Request
from uuid_utils.compat import uuid7

from chassis.database import Database
from chassis.http.problems import Problem
from chassis.timestamps import milliseconds, now
from schemas import OrderLine, OrderPlaced
from services.orders.domain import Order
from services.orders.models import NewOrder, OrderResponse
from services.orders.tables import products

PRICES_SECONDS = 1.0
"""The greatest age of a price: the list is read at most once a second instead of once per order."""

PriceList = Mapping[str, Row[Any]]


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """A priced order: as table rows, as an event and as a response."""

    order: Order
    event: OrderPlaced

    def row(self) -> dict[str, Any]:
        terms = {"payment_method": self.event.payment_method, "placed_at": self.event.time}
        return vars(self.order) | terms

    def lines(self) -> Iterator[dict[str, Any]]:
        for line in self.event.lines:
            yield {
                "order_id": self.event.order_id,
                "product_id": line.product_id,
                "quantity": line.quantity,
                "unit_price_cents": line.unit_price_cents,
            }

    def response(self) -> OrderResponse:
        return OrderResponse.model_validate(self.row() | {"lines": list(self.lines())})


def place(new: NewOrder, customer_id: str, prices: PriceList) -> PlacedOrder:
    """Prices an order. Raises Problem for a product that is not on the list, or is sold in another currency."""
    for position, line in enumerate(new.lines):
        product = prices.get(line.product_id)
        if product is None:
            raise Problem.of_field(f"lines[{position}].product_id", f"there is no product {line.product_id}")
        if product.currency != new.currency:
            raise Problem.of_field("currency", f"{line.product_id} is sold in {product.currency}")
    lines = tuple(
        OrderLine(
            product_id=line.product_id,
            quantity=line.quantity,
            unit_price_cents=prices[line.product_id].price_cents,
        )
        for line in sorted(new.lines, key=lambda line: line.product_id)
    )
    event = OrderPlaced(
        order_id=str(uuid7()),
        order_version=1,
        customer_id=customer_id,
        total_cents=sum(line.quantity * line.unit_price_cents for line in lines),
        lines=lines,
        occurred_at=milliseconds(now()),
        **new.model_dump(exclude={"lines"}),
    )
    order = Order(
        order_id=event.order_id,
        customer_id=event.customer_id,
        currency=event.currency,
        total_cents=event.total_cents,
    )
    return PlacedOrder(order, event)


async def price_list(request: Request) -> PriceList:
    """Returns the price list of this app's database, at most a second old."""
    state = request.app.state
    if getattr(state, "prices_of", None) is not state.database:
        state.prices_of, state.prices = state.database, PriceReader(state.database)
    prices: PriceList = await state.prices.read()
    return prices


class PriceReader:
    """Caches the price list of a database for `PRICES_SECONDS`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._list: PriceList = {}
        self._read_at = float("-inf")
        self._is_reading = False

    async def read(self) -> PriceList:
        """Returns the list. While one request reads it again, the others get the cached one."""
        is_old = monotonic() - self._read_at > PRICES_SECONDS
        if not self._list or (is_old and not self._is_reading):
            self._is_reading = True
            try:
                async with self._database.transaction() as db:
                    self._list = {row.product_id: row for row in await db.execute(select(products))}
                self._read_at = monotonic()
            finally:
                self._is_reading = False
        return self._list
