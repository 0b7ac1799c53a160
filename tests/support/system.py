"""The running system as a customer and an operator see it, and conditions with deadlines instead of sleeps."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
from sqlalchemy.engine import make_url

from fanout.load import PATIENCE, LoadReport, Purchase, place_orders, purchases
from fanout.tokens import TokenSigner, bearer, signer
from tests.support.stack import Stack

Condition = Callable[[], Awaitable[Any]]
WORKERS = ("analytics", "fraud", "fulfillment", "inventory", "notifications", "orders", "payments")
PARKED = 3
"""The exit code of `fanout verify` when events are in flight, or messages are parked; the ledger says which."""


async def until(condition: Condition, seconds: float = 30) -> Any:
    """The first true answer; fails with the last one after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = await condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s: {condition}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def system_of(stack: Stack, answer_seconds: float = 10) -> AsyncIterator["System"]:
    operator = bearer(signer(stack.addresses).operator("a test"))
    async with httpx.AsyncClient(timeout=answer_seconds, trust_env=False, headers=operator) as http:
        yield System(stack, http)


@dataclass
class System:
    """`http` is an operator, unless a request has the header of a customer (`as_customer`)."""

    stack: Stack
    http: httpx.AsyncClient

    @cached_property
    def signer(self) -> TokenSigner:
        return signer(self.stack.addresses)

    def as_customer(self, customer_id: str) -> dict[str, str]:
        return bearer(self.signer.customer(customer_id))

    async def order(
        self, product: str = "mug", quantity: int = 1, customer_id: str | None = None, **changes: Any
    ) -> str:
        """Places one order, by default with a card that works, and returns its id."""
        customer = self.as_customer(customer_id or f"customer-{uuid4().hex[:8]}")
        body = {
            "currency": "EUR",
            "payment_method": "card",
            "card_token": "tok_visa",
            "lines": [{"product_id": product, "quantity": quantity}],
        }
        wanted = {name: value for name, value in (body | changes).items() if value is not None}
        url = f"{self.stack.addresses.apis['orders']}/orders"
        answer = await self.http.post(url, json=wanted, headers=customer)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["order_id"])

    async def show(self, order_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"{self.stack.addresses.apis['orders']}/orders/{order_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until_status(self, order_id: str, status: str, seconds: float = 30) -> dict[str, Any]:
        async def reached() -> dict[str, Any] | None:
            shown = await self.show(order_id)
            return shown if shown["status"] == status else None

        found: dict[str, Any] = await until(reached, seconds)
        return found

    async def load(self, count: int, rate: float, seed: int = 1, patience: float = PATIENCE) -> LoadReport:
        """Places every order, whatever is killed meanwhile: repeats what fails, for `patience` seconds."""
        wanted = list(islice(_plain(seed), count))
        return await place_orders(self.stack.addresses, wanted, rate, patient=True, patience=patience)

    async def query(self, service: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.connect(service) as connection:
            return list(await connection.fetch(sql, *arguments))

    @asynccontextmanager
    async def connect(self, service: str) -> AsyncIterator[asyncpg.Connection]:
        url = make_url(self.stack.addresses.databases[service]).set(drivername="postgresql")
        patient = {"idle_in_transaction_session_timeout": "60s", "application_name": "test"}
        connection = await asyncpg.connect(
            url.render_as_string(hide_password=False), timeout=5, server_settings=patient
        )
        try:
            yield connection
        finally:
            connection.terminate()

    async def fanout(self, *arguments: str) -> str:
        return await asyncio.to_thread(self.stack.must, *arguments)

    async def someone_waits(self, service: str, statement: str) -> bool:
        """For a lock. Asked on a connection of its own: inside a transaction pg_stat_activity does not change."""
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND wait_event_type = 'Lock' AND query LIKE $2"
        )
        return bool(await self.query(service, waiting, service, f"%{statement}%"))

    async def settled(self, seconds: int = 90) -> str:
        """Returns the verdict of the ledger, once nothing is in flight.

        Fails if anything was lost or doubled, or is still in flight. Messages that other tests have parked may stay.
        """
        done = await asyncio.to_thread(self.stack.fanout, "verify", "--wait", f"{seconds}s", "--json")
        assert done.returncode in (0, PARKED), f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        ledger = json.loads(done.stdout)
        assert ledger["settled"] and not (ledger["lost"] or ledger["applied_twice"]), ledger["sentence"]
        return str(ledger["sentence"])


def _plain(seed: int) -> Iterator[Purchase]:
    """The usual mix without what runs out, so that tests do not disturb each other's stock."""
    return (purchase for purchase in purchases(seed) if purchase.kind != "scarce")
