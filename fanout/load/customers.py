"""Places orders over REST and pays the invoices; what the load command, the demo and the system tests share."""

from asyncio import Task, TaskGroup
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

from fanout.load.asking import Answer, ask
from fanout.load.http import Client
from fanout.load.mix import Purchase
from fanout.load.pace import at_rate
from fanout.load.report import LoadReport, Placement

PATIENCE = 30.0
PAYMENTS_AT_ONCE = 20

Watch = Callable[[Placement], None]


async def place_orders(
    apis: Mapping[str, str],
    purchases: Sequence[Purchase],
    rate: float,
    *,
    patient: bool = False,
    patience: float = PATIENCE,
    watch: Watch = lambda placement: None,
) -> LoadReport:
    """Places the purchases at `rate` per second on `apis["orders"]` and pays invoices on `apis["payments"]`.

    An order is sent when it is due, whatever became of earlier ones; paying never holds one back. With `patient`
    what is refused or fails is asked again for `patience` seconds. `watch` hears of every order once it is answered.
    """
    start = perf_counter()
    paying: list[tuple[int, Task[Answer]]] = []
    async with (
        Client(apis["orders"]) as orders,
        Client(apis["payments"], at_once=PAYMENTS_AT_ONCE) as payments,
        TaskGroup() as group,
    ):

        async def pay(order: Mapping[str, Any]) -> Answer:
            # 404 means that payments has not heard of the order yet.
            return await ask(payments, "/payments", payment_body(order), patience, patient, not_yet=(404,))

        async def place(numbered: tuple[int, Purchase], due: float) -> Placement:
            number, purchase = numbered
            answer = await ask(orders, "/orders", order_body(purchase), patience, patient)
            placement = Placement(
                purchase,
                answer.state,
                perf_counter() - due,
                order_id=answer.body.get("order_id"),
                problem=answer.problem,
            )
            watch(placement)
            if purchase.kind == "invoice" and answer.state == "ok":
                paying.append((number, group.create_task(pay(answer.body))))
            return placement

        placements = await at_rate(rate, list(enumerate(purchases)), place)
        seconds = perf_counter() - start
    for number, task in paying:
        paid = task.result()
        placements[number] = replace(placements[number], paid=paid.state, problem=paid.problem)
    return LoadReport(placements, seconds)


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
