"""A correction is of the record's own order, type and topic, however little of the record can be read."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import httpx
import pytest

from chassis.database import Database
from chassis.events.record import Record
from services.dead_letters.tables import actions
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, parked, redriven_messages, served, store, stored
from tests.support.principals import SOME_OPERATOR
from tests.support.recording_service import cancelled, confirmed

Headers = list[tuple[str, bytes | None]]

TYPE: Headers = [("ce_type", b"OrderConfirmed")]
GARBAGE = Record("orders", 2, 5, 0, b"order-0", b"garbage", TYPE)


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("dead_letters")
    yield database
    assert not await sample_events.broken_checks("dead_letters", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database) as client:
        yield client


async def correct(client: httpx.AsyncClient, order: str, type_name: str | None = None) -> httpx.Response:
    document = sample_events.order_confirmed(order).to_record()
    body = WHY | {"correction": document} | ({"type": type_name} if type_name else {})
    return await client.post("/dead-letters/1/redrive", json=body)


def fields(refusal: httpx.Response) -> list[str]:
    assert refusal.status_code == 422, refusal.text
    return [error["field"] for error in refusal.json()["errors"]]


def subject(value: bytes) -> Headers:
    return [*TYPE, ("ce_subject", value)]


OWN_KEYS = {
    "decoded": (confirmed("order-0", 7), {"order-0"}),
    "undecodable, with a key": (GARBAGE, {"order-0"}),
    "undecodable, with a key and the same subject": (
        replace(GARBAGE, headers=subject(b"order-0")),
        {"order-0"},
    ),
    "cut off": (replace(confirmed("order-0", 7), value=confirmed("order-0", 7).value[:9]), {"order-0"}),  # type: ignore[index]
    "without a key": (replace(GARBAGE, key=None, headers=subject(b"order-0")), {"order-0"}),
    "with an empty key": (replace(GARBAGE, key=b"", headers=subject(b"order-0")), {"order-0"}),
    "with a key that is no text": (replace(GARBAGE, key=b"\xff", headers=subject(b"order-0")), {"order-0"}),
    "with a subject that is no text": (replace(GARBAGE, headers=subject(b"\xff")), {"order-0"}),
    "with several subjects, of which the last counts": (
        replace(GARBAGE, key=None, headers=[("ce_subject", b"order-1"), *subject(b"order-0")]),
        {"order-0"},
    ),
    "with the key of another order": (
        replace(confirmed("order-0", 7), key=b"order-1"),
        {"order-0", "order-1"},
    ),
    "with the key of another order, cut off": (
        replace(GARBAGE, key=b"order-1", headers=subject(b"order-0")),
        {"order-0", "order-1"},
    ),
}


@pytest.mark.parametrize("name", OWN_KEYS)
async def test_a_correction_of_another_order_is_refused_and_of_the_records_own_is_sent(
    name: str, client: httpx.AsyncClient, database: Database
) -> None:
    record, own = OWN_KEYS[name]
    await store(database, parked(record))
    refused = await correct(client, "order-2")
    assert fields(refused) == ["correction.order_id"]
    message = refused.json()["errors"][0]["message"]
    assert all(key in message for key in own)
    assert (await stored(database, actions), await redriven_messages(database)) == ([], [])
    for order in sorted(own):
        answer = await correct(client, order)
        assert answer.status_code == 200, answer.text
    assert {row.key.decode() for row, _, _ in await redriven_messages(database)} == own


async def test_a_record_that_names_no_order_is_corrected_on_the_operators_word(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(replace(GARBAGE, key=None)))
    answer = await correct(client, "order-7")
    assert answer.status_code == 200, answer.text
    [(row, headers, _)] = await redriven_messages(database)
    assert row.key == b"order-7" and UUID((headers["ce_id"] or b"").decode())
    [action] = answer.json()["actions"]
    assert (action["who"], action["correction"]["order_id"]) == (SOME_OPERATOR.subject, "order-7")


async def test_the_type_of_the_record_binds_a_correction(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(cancelled("order-0", 7)))
    assert fields(await correct(client, "order-0", "OrderConfirmed")) == ["type"]
    assert "correction.reason" in fields(await correct(client, "order-0"))


@pytest.mark.parametrize("written", [b"", b"OrderPlac\xffd", b"NextYearsEvent", b"FraudAssessed", None])
async def test_a_type_that_the_topic_does_not_have_is_replaced_by_one_that_it_has(
    written: bytes | None, client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(replace(GARBAGE, headers=[("ce_type", written)])))
    assert fields(await correct(client, "order-0")) == ["type"]
    assert fields(await correct(client, "order-0", "FraudAssessed")) == ["type"]
    assert fields(await correct(client, "order-1", "OrderConfirmed")) == ["correction.order_id"]
    assert (await correct(client, "order-0", "OrderConfirmed")).status_code == 200
    [(row, headers, _)] = await redriven_messages(database)
    assert (row.topic, row.type, headers["ce_type"]) == (
        "orders.fraud.retry",
        "OrderConfirmed",
        b"OrderConfirmed",
    )


async def test_a_dead_letter_that_no_consumer_parked_has_no_consumer_for_a_correction_either(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, Record("orders.fraud.dlq", 0, 7, 0, None, b"", []))
    refused = await correct(client, "order-0", "OrderConfirmed")
    assert refused.status_code == 409 and "none to redrive it to" in refused.json()["detail"]
