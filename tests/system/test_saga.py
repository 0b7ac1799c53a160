"""One order's life over real REST, Kafka and Postgres, in each way it can end."""

import asyncio

import pytest

from tests.support.system import System, until


async def test_a_paid_order_is_shipped_and_everyone_is_told(system: System) -> None:
    order_id = await system.order()
    shown = await system.until_status(order_id, "shipped")
    assert (shown["payment"], shown["stock"]) == ("authorized", "reserved")

    async def all_messages() -> bool:
        rows = await system.query("notifications", "SELECT kind FROM messages WHERE order_id = $1", order_id)
        return {row["kind"] for row in rows} == {"order_placed", "payment_authorized", "order_shipped"}

    await until(all_messages)
    await until(lambda: system.query("fraud", "SELECT 1 FROM assessments WHERE order_id = $1", order_id))


@pytest.mark.parametrize("token", ["tok_declined", "tok_insufficient_funds"])
async def test_a_declined_card_cancels_the_order_and_frees_its_stock(system: System, token: str) -> None:
    order_id = await system.order(card_token=token)
    shown = await system.until_status(order_id, "cancelled")
    assert shown["cancel_reason"] == "payment_declined"
    await until(
        lambda: system.query(
            "inventory", "SELECT 1 FROM reservations WHERE order_id = $1 AND status = 'released'", order_id
        )
    )


async def test_what_is_sold_out_cancels_the_order_and_refunds_it(system: System) -> None:
    order_id = await system.order("sold-out-poster")
    shown = await system.until_status(order_id, "cancelled")
    assert shown["cancel_reason"] == "out_of_stock"
    await until(
        lambda: system.query(
            "payments", "SELECT 1 FROM payments WHERE order_id = $1 AND status = 'refunded'", order_id
        )
    )


async def test_an_invoice_is_pending_until_it_is_paid(system: System) -> None:
    order_id = await system.order(payment_method="invoice", card_token=None)
    body = {
        "order_id": order_id,
        "amount_cents": (await system.show(order_id))["total_cents"],
        "currency": "EUR",
    }

    async def paid() -> bool:
        answer = await system.http.post(f"{system.stack.addresses.apis['payments']}/payments", json=body)
        assert answer.status_code in (201, 404), answer.text
        return answer.status_code == 201

    assert (await system.show(order_id))["status"] == "placed"
    await until(paid)
    await system.until_status(order_id, "shipped")


async def test_a_customers_cancel_undoes_everything(system: System) -> None:
    order_id = await system.order(payment_method="invoice", card_token=None)
    await until(lambda: system.query("inventory", "SELECT 1 FROM reservations WHERE order_id = $1", order_id))
    answer = await system.http.post(f"{system.stack.addresses.apis['orders']}/orders/{order_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    await until(
        lambda: system.query(
            "inventory", "SELECT 1 FROM reservations WHERE order_id = $1 AND status = 'released'", order_id
        )
    )
    await until(
        lambda: system.query(
            "payments", "SELECT 1 FROM payments WHERE order_id = $1 AND status = 'voided'", order_id
        )
    )


async def test_a_cancel_that_races_the_confirmation_is_decided_once(system: System) -> None:
    async def race() -> None:
        order_id = await system.order()
        answer = await system.http.post(f"{system.stack.addresses.apis['orders']}/orders/{order_id}/cancel")
        assert answer.status_code in (200, 409)
        await system.until_status(order_id, "cancelled" if answer.status_code == 200 else "shipped")

    await asyncio.gather(*(race() for _ in range(20)))
    await system.settled()


async def test_cancelling_a_shipped_order_is_too_late(system: System) -> None:
    order_id = await system.order()
    await system.until_status(order_id, "shipped")
    answer = await system.http.post(f"{system.stack.addresses.apis['orders']}/orders/{order_id}/cancel")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"


async def test_one_trace_follows_the_order_through_every_service(system: System) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    system.http.headers["traceparent"] = f"00-{trace_id}-b7ad6b7169203331-01"
    order_id = await system.order()
    await system.until_status(order_id, "shipped")
    for service in ("orders", "payments", "inventory", "fulfillment"):
        rows = await system.query(service, "SELECT headers FROM outbox WHERE aggregate_id = $1", order_id)
        assert rows and all(trace_id in row["headers"] for row in rows)
