"""A POST is taken or refused within a second, and what was taken is answered the same however often it is asked."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from tests.support.system import System, until

SLOW_COMMIT = """
    CREATE FUNCTION sleep_before_commit() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.key LIKE 'killed-%') EXECUTE FUNCTION sleep_before_commit();
"""
USUAL_COMMIT = "DROP FUNCTION IF EXISTS sleep_before_commit CASCADE"


@pytest.fixture
async def slow_commit(system: System) -> AsyncIterator[None]:
    """Postgres takes two seconds to commit a request whose key begins with "killed-"."""
    async with system.connect("orders") as connection:
        await connection.execute(SLOW_COMMIT)
    yield
    async with system.connect("orders") as connection:
        await connection.execute(USUAL_COMMIT)


ORDER: dict[str, object] = {
    "currency": "EUR",
    "payment_method": "card",
    "card_token": "tok_visa",
    "lines": [{"product_id": "mug", "quantity": 1}],
}
PATIENT_CUSTOMER = "customer-patient"


async def test_an_api_killed_between_commit_and_answer_gives_the_same_answer_when_asked_again(
    system: System, slow_commit: None
) -> None:
    url, key = f"{system.stack.addresses.apis['orders']}/orders", f"killed-{uuid4().hex}"
    customer_id = f"customer-{uuid4().hex[:8]}"
    headers = system.as_customer(customer_id) | {"Idempotency-Key": key}
    pending = asyncio.create_task(system.http.post(url, json=ORDER, headers=headers))
    await until(lambda: commits(system))
    await system.fanout("kill", "orders-api")
    with pytest.raises(httpx.TransportError):
        await pending
    await until(lambda: system.query("orders", "SELECT 1 FROM idempotency_keys WHERE key = $1", key))
    again = await until(lambda: ask(system, url, headers))
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    rows = await system.query("orders", "SELECT order_id FROM orders WHERE customer_id = $1", customer_id)
    assert [row["order_id"] for row in rows] == [again.json()["order_id"]]
    await system.settled()


async def commits(system: System) -> bool:
    """Returns True while somebody sleeps before a commit of the orders service."""
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE datname = 'orders' AND wait_event = 'PgSleep'"
    return bool(await system.query("orders", sleeping))


async def ask(system: System, url: str, headers: dict[str, str]) -> httpx.Response | None:
    try:
        return await system.http.post(url, json=ORDER, headers=headers)
    except httpx.TransportError:
        return None


async def test_while_a_table_is_locked_every_post_is_answered_within_a_second(system: System) -> None:
    url = f"{system.stack.addresses.apis['orders']}/orders"
    customer = system.as_customer(PATIENT_CUSTOMER)
    answers: Counter[int] = Counter()
    slowest = 0.0

    async def post() -> None:
        nonlocal slowest
        began = time.monotonic()
        answer = await system.http.post(url, json=ORDER, headers=customer)
        slowest = max(slowest, time.monotonic() - began)
        answers[answer.status_code] += 1
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "1"

    async with system.connect("orders") as connection, connection.transaction():
        await connection.execute("LOCK TABLE orders IN EXCLUSIVE MODE")
        asked = [asyncio.create_task(post())]
        await until(lambda: system.someone_waits("orders", "INTO orders"))
        for _ in range(40):
            asked.append(asyncio.create_task(post()))
            await asyncio.sleep(0.05)
        await asyncio.gather(*asked)
    assert set(answers) == {503}
    assert slowest < 1.0
    await until(lambda: accepted(system, url))
    await system.settled()


async def accepted(system: System, url: str) -> bool:
    customer = system.as_customer(PATIENT_CUSTOMER)
    return (await system.http.post(url, json=ORDER, headers=customer)).status_code == 201
