"""Places orders over REST and pays the invoices; what the load command, the demo and the system tests share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import httpx

from fanout.load.asking import ask
from fanout.load.mix import Purchase
from fanout.load.pace import AT_ONCE, at_rate
from fanout.load.report import LoadReport, Placement

PATIENCE = 30.0
_TIMEOUT = httpx.Timeout(10.0, pool=None)
_LIMITS = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)

Watch = Callable[[Placement], None]


async def place_orders(
    apis: Mapping[str, str],
    purchases: Sequence[Purchase],
    rate: float,
    patience: float = PATIENCE,
    watch: Watch = lambda placement: None,
) -> LoadReport:
    """Places the purchases at `rate` per second on `apis["orders"]` and pays invoices on `apis["payments"]`.

    Nothing is given up before `patience` seconds; `watch` hears of every order when all is said about it.
    """
    start = perf_counter()
    async with httpx.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS) as client:

        async def serve(purchase: Purchase, due: float) -> Placement:
            placement = await _place(client, apis, purchase, due, patience)
            watch(placement)
            return placement

        placements = await at_rate(rate, purchases, serve)
    return LoadReport(placements, perf_counter() - start)


async def _place(
    client: httpx.AsyncClient, apis: Mapping[str, str], purchase: Purchase, due: float, patience: float
) -> Placement:
    answer = await ask(client, f"{apis['orders']}/orders", order_body(purchase), patience)
    placement = Placement(purchase, answer.state, perf_counter() - due, problem=answer.problem)
    if answer.state != "ok":
        return placement
    placement = replace(placement, order_id=answer.body["order_id"])
    if purchase.kind != "invoice":
        return placement
    # 404 means that payments has not heard of the order yet.
    paid = await ask(
        client, f"{apis['payments']}/payments", payment_body(answer.body), patience, not_yet=(404,)
    )
    return replace(placement, paid=paid.state, problem=paid.problem)


def order_body(purchase: Purchase) -> dict[str, Any]:
    body: dict[str, Any] = {
        "customer_id": purchase.customer_id,
        "currency": "EUR",
        "lines": [{"product_id": product, "quantity": quantity} for product, quantity in purchase.lines],
    }
    if purchase.card_token is None:
        return body | {"payment_method": "invoice"}
    return body | {"payment_method": "card", "card_token": purchase.card_token}


def payment_body(order: Mapping[str, Any]) -> dict[str, Any]:
    """Pays the whole invoice of an order as POST /orders answered it."""
    return {
        "order_id": order["order_id"],
        "amount_cents": order["total_cents"],
        "currency": order["currency"],
    }
