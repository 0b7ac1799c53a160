"""Requests that the dead letters API refuses, and corrections that do not fit, named by their field."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from chassis.database import Database
from chassis.events.avro import encode
from chassis.events.record import Record
from services.dead_letters.tables import actions
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, many, parked, redriven_messages, served, store, stored
from tests.support.recording_service import confirmed

EVENT = sample_events.order_confirmed("order-0").to_record()
GARBAGE = Record("orders", 2, 5, 0, b"k", b"garbage", [])


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("dead_letters")
    yield database
    assert not await sample_events.broken_checks("dead_letters", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database) as client:
        yield client


def fields(refusal: httpx.Response) -> list[str]:
    assert refusal.status_code == 422, refusal.text
    assert refusal.headers["content-type"] == "application/problem+json"
    return [error["field"] for error in refusal.json()["errors"]]


async def test_an_unknown_dead_letter_is_404_and_a_malformed_id_422(client: httpx.AsyncClient) -> None:
    for action in ("redrive", "discard"):
        assert (await client.post(f"/dead-letters/77/{action}", json=WHY)).status_code == 404
        assert fields(await client.post(f"/dead-letters/x/{action}", json=WHY)) == ["dead_letter_id"]
    assert (await client.get("/dead-letters/77")).status_code == 404
    assert fields(await client.get(f"/dead-letters/{2**63}")) == ["dead_letter_id"]


async def test_a_discarded_dead_letter_is_not_redriven_and_a_redriven_one_not_discarded(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(2))
    await client.post("/dead-letters/1/discard", json=WHY)
    await client.post("/dead-letters/2/redrive", json=WHY)
    redriven = await client.post("/dead-letters/1/redrive", json=WHY | {"correction": {"no": "event"}})
    discarded = await client.post("/dead-letters/2/discard", json=WHY)
    assert (redriven.status_code, discarded.status_code) == (409, 409)
    assert "discarded" in redriven.json()["detail"]
    assert "may have applied it" in discarded.json()["detail"]
    assert len(await redriven_messages(database)) == 1


async def test_a_dead_letter_that_no_consumer_parked_is_not_redriven(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, Record("orders.fraud.dlq", 0, 7, 0, None, b"", []))
    refusal = await client.post("/dead-letters/1/redrive", json=WHY)
    assert (refusal.status_code, "none to redrive it to" in refusal.json()["detail"]) == (409, True)
    assert (await client.post("/dead-letters/1/discard", json=WHY)).is_success


async def test_every_action_needs_a_reason_and_takes_no_name(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(1))
    bodies: list[tuple[Any, str]] = [
        ({}, "why"),
        (WHY | {"why": "  "}, "why"),
        (WHY | {"why": "a\0b"}, "why"),
        (WHY | {"who": "ada"}, "who"),
        (WHY | {"why": "x" * 501}, "why"),
        (WHY | {"because": "so"}, "because"),
        ([], "body"),
    ]
    for body, field in bodies:
        for path in ("/dead-letters/1/redrive", "/dead-letters/1/discard"):
            assert fields(await client.post(path, json=body)) == [field]
    assert await stored(database, actions) == []


async def test_a_bulk_action_needs_a_valid_filter_or_all(client: httpx.AsyncClient) -> None:
    bodies: list[tuple[dict[str, Any], str]] = [
        ({}, "body"),
        ({"all": True, "consumer": "fraud"}, "body"),
        ({"consumer": ""}, "consumer"),
        ({"topic": "a\0"}, "topic"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-03-01T12:00:00"}, "until"),
        ({"all": True, "limit": 0}, "limit"),
        ({"all": True, "after": -1}, "after"),
        ({"colour": "red"}, "colour"),
    ]
    for body, field in bodies:
        for path in ("/dead-letters/redrive", "/dead-letters/discard"):
            assert field in fields(await client.post(path, json=WHY | body))
    for query in ("limit=0", "limit=201", "after=-1", "status=lost", "since=x", "consumer=%00", "reason="):
        assert fields(await client.get(f"/dead-letters?{query}")) == [query.partition("=")[0]]


INVALID: list[tuple[dict[str, Any], list[str]]] = [
    ({"total_cents": "1"}, ["correction.total_cents"]),
    ({"total_cents": 1.5}, ["correction.total_cents"]),
    ({"total_cents": True}, ["correction.total_cents"]),
    ({"total_cents": 2**63}, ["correction.total_cents"]),
    ({"total_cents": None}, ["correction.total_cents"]),
    ({"order_version": 2**31}, ["correction.order_version"]),
    ({"customer_id": 7}, ["correction.customer_id"]),
    ({"colour": "red"}, ["correction.colour"]),
    ({"occurred_at": -1}, ["correction.occurred_at"]),
    ({"occurred_at": 253_402_300_800_000}, ["correction.occurred_at"]),
    ({"order_id": "another"}, ["correction.order_id"]),
    ({"total_cents": "1", "currency": 2}, ["correction.currency", "correction.total_cents"]),
]


async def test_a_correction_that_does_not_fit_the_contract_is_refused_with_the_name_of_the_field(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(1))
    for wrong, named in INVALID:
        refusal = await client.post("/dead-letters/1/redrive", json=WHY | {"correction": EVENT | wrong})
        assert (wrong, sorted(fields(refusal))) == (wrong, named)
    missing = {name: value for name, value in EVENT.items() if name != "currency"}
    refusal = await client.post("/dead-letters/1/redrive", json=WHY | {"correction": missing})
    assert fields(refusal) == ["correction.currency"]
    surrogate = json.dumps(WHY | {"correction": EVENT | {"customer_id": "?"}}).replace('"?"', '"\\ud800"')
    json_type = {"content-type": "application/json"}
    assert fields(await client.post("/dead-letters/1/redrive", content=surrogate, headers=json_type))
    assert (await stored(database, actions), await redriven_messages(database)) == ([], [])


async def test_a_correction_replaces_the_value_under_the_same_event_id(
    client: httpx.AsyncClient, database: Database
) -> None:
    original = confirmed("order-0", 7)
    await store(database, parked(original))
    answer = await client.post("/dead-letters/1/redrive", json=WHY | {"correction": EVENT})
    assert answer.status_code == 200, answer.text
    assert answer.json()["actions"][0]["correction"] == EVENT
    [(row, headers, _)] = await redriven_messages(database)
    assert (row.type, row.schema_version, row.payload) == (
        "OrderConfirmed",
        1,
        encode(sample_events.order_confirmed("order-0")),
    )
    assert headers["ce_id"] == str(original.event_id).encode()
    assert bytes.fromhex(answer.json()["value"]) == original.value


async def test_the_correction_of_a_dead_letter_without_a_type_needs_a_type_of_its_topic(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(GARBAGE), *many(1))
    correction = WHY | {"correction": EVENT}
    assert fields(await client.post("/dead-letters/1/redrive", json=correction)) == ["type"]
    for no_type in ("FraudAssessed", "Nonsense", "a\0"):
        assert fields(await client.post("/dead-letters/1/redrive", json=correction | {"type": no_type})) == [
            "type"
        ]
    assert fields(
        await client.post("/dead-letters/2/redrive", json=correction | {"type": "OrderPlaced"})
    ) == ["type"]
    assert fields(await client.post("/dead-letters/1/redrive", json=WHY | {"type": "OrderPlaced"})) == [
        "body"
    ]
    named = await client.post("/dead-letters/1/redrive", json=correction | {"type": "OrderConfirmed"})
    assert named.status_code == 200, named.text
    [(row, headers, _)] = await redriven_messages(database)
    assert (row.topic, row.key, headers["ce_type"]) == ("orders.fraud.retry", b"order-0", b"OrderConfirmed")
    assert headers["ce_id"]
