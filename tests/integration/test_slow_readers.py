"""Clients that do not read their answers hold no connection to the database."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from services.orders.api import app
from tests.integration.conftest import NewDatabase
from tests.support.principals import client_of

MORE_THAN_THE_POOL_HAS = 12


async def test_reading_goes_on_while_more_clients_than_connections_read_nothing(
    new_database: NewDatabase,
) -> None:
    app.state.database = await new_database("orders")
    is_sending, is_over = asyncio.Semaphore(0), asyncio.Event()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send_slowly(message: MutableMapping[str, Any]) -> None:
        is_sending.release()
        await is_over.wait()

    async with client_of(app) as client:
        token = client.headers["authorization"].encode()
        scope = {"type": "http", "method": "GET", "path": "/products", "query_string": b""}
        scopes = [scope | {"headers": [(b"authorization", token)]} for _ in range(MORE_THAN_THE_POOL_HAS)]
        slow = [asyncio.create_task(app(each, receive, send_slowly)) for each in scopes]
        try:
            async with asyncio.timeout(5):
                for _ in slow:
                    await is_sending.acquire()
                assert (await client.get("/products")).status_code == 200
        finally:
            is_over.set()
            await asyncio.wait(slow)
