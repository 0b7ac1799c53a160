"""Places the orders whose invoices a comparison pays, and waits until the system is quiet again."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from fanout.compare.mails import Mails
from fanout.databases import snapshot
from fanout.errors import FanoutError
from fanout.http_client import Client, NoAnswer, NotConnected
from fanout.load import Purchase, at_rate, order_body, payment_body, post
from fanout.running import Addresses
from fanout.tokens import bearer, signer

CUSTOMER = "compare"
RATE = 20.0
PATIENCE_SECONDS = 10.0
QUIET_SECONDS = 30.0
POLL_SECONDS = 0.1
CANCEL_SECONDS = 5.0
_PENDING = text("SELECT count(*) FROM payments WHERE order_id = ANY(:ids) AND status = 'pending'")


@dataclass(frozen=True, slots=True)
class Invoice:
    """The body that pays it; both sides take it."""

    order_id: str
    body: dict[str, Any]


async def place_invoices(
    addresses: Addresses, count: int, uses: str, mails: Mails, tell: Callable[[str], None]
) -> list[Invoice]:
    """Orders a mug on invoice so many times; returns when all can be paid and the mails about them have arrived.

    `uses` says what they are for.
    Raises FanoutError if an order is not accepted, or payments or notifications do not get it in time.
    """
    token = signer(addresses).customer(CUSTOMER)
    order = order_body(Purchase("invoice", CUSTOMER, (("mug", 1),), None))
    async with Client(addresses.apis["orders"]) as client:

        async def place(number: int, due: float) -> Invoice:
            tell(f"placing orders: {number + 1} of {count}, {uses}")
            answer = await post(client, "/orders", order, token, PATIENCE_SECONDS, patient=True)
            if answer.state != "ok":
                raise FanoutError(f"an order was not accepted ({answer.problem}): fanout status")
            body = payment_body(answer.body)
            return Invoice(body["order_id"], body)

        try:
            placed = await at_rate(RATE, range(count), place)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None
    try:
        await _until_quiet(addresses, placed, mails, tell)
    except BaseException:
        await cancel(addresses, placed)
        raise
    return placed


async def cancel(addresses: Addresses, invoices: Sequence[Invoice]) -> None:
    """Cancels what was not paid, as far as the system allows it, so that no stock stays reserved."""
    headers = bearer(signer(addresses).customer(CUSTOMER))
    with suppress(TimeoutError, NotConnected, NoAnswer):
        async with asyncio.timeout(CANCEL_SECONDS), Client(addresses.apis["orders"]) as client:
            for each in invoices:
                key = {"Idempotency-Key": str(uuid4())}
                await client.post(f"/orders/{each.order_id}/cancel", b"", headers | key)


async def _until_quiet(
    addresses: Addresses, placed: Sequence[Invoice], mails: Mails, tell: Callable[[str], None]
) -> None:
    wanted, deadline = {each.order_id for each in placed}, monotonic() + QUIET_SECONDS
    while True:
        mails.look()
        payable = await _payable(addresses, list(wanted))
        mailed = len(wanted & mails.orders)
        if payable == mailed == len(wanted):
            return
        if monotonic() > deadline:
            raise FanoutError(
                f"of {len(wanted)} orders payments knows {payable}, and {mailed} had a mail, after "
                f"{QUIET_SECONDS:.0f} s: see fanout lag, fanout status and fanout mailbox"
            )
        tell(f"waiting until they can be paid: {payable} of {len(wanted)}")
        await asyncio.sleep(POLL_SECONDS)


async def _payable(addresses: Addresses, order_ids: list[str]) -> int:
    async with snapshot("payments", addresses.databases["payments"]) as db:
        found: int = (await db.execute(_PENDING, {"ids": order_ids})).scalar_one()
        return found
