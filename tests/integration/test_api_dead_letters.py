"""The dead letters API: list, show, redrive byte for byte, in bulk too, and discard with a reason."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from chassis.database import Database
from chassis.outbox.table import load_headers
from fanout.tokens import bearer
from services.dead_letters.tables import actions
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import (
    NOON,
    WHY,
    many,
    parked,
    redriven_messages,
    served,
    store,
    stored,
)
from tests.support.principals import SIGNER, SOME_OPERATOR
from tests.support.recording_service import confirmed


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("dead_letters")
    yield database
    assert not await sample_events.broken_checks("dead_letters", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database) as client:
        yield client


async def ids(client: httpx.AsyncClient, **asked: Any) -> list[int]:
    answer = await client.get("/dead-letters", params=asked)
    assert answer.status_code == 200, answer.text
    return [dead_letter["dead_letter_id"] for dead_letter in answer.json()["dead_letters"]]


async def test_dead_letters_are_listed_by_consumer_topic_reason_status_and_time(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(3), parked(confirmed("order-9", 9), consumer="orders", error_type="Deadlock"))
    await client.post("/dead-letters/2/discard", json=WHY)
    later = (NOON + timedelta(minutes=1)).isoformat()
    assert await ids(client) == [1, 2, 3, 4]
    assert await ids(client, consumer="orders") == [4]
    assert await ids(client, topic="payments") == []
    assert await ids(client, reason="permanent", topic="orders") == [1, 2, 3, 4]
    assert await ids(client, reason="Deadlock") == [4]
    assert await ids(client, status="parked") == [1, 3, 4]
    assert (await ids(client, since=later), await ids(client, until=later)) == ([2, 3], [1, 4])


async def test_a_list_comes_in_pages(client: httpx.AsyncClient, database: Database) -> None:
    await store(database, *many(5))
    page = (await client.get("/dead-letters?limit=3")).json()
    assert ([dead_letter["dead_letter_id"] for dead_letter in page["dead_letters"]], page["next_after"]) == (
        [1, 2, 3],
        3,
    )
    rest = (await client.get("/dead-letters?limit=3&after=3")).json()
    assert ([dead_letter["dead_letter_id"] for dead_letter in rest["dead_letters"]], rest["next_after"]) == (
        [4, 5],
        None,
    )


async def test_a_dead_letter_is_shown_with_its_event_bytes_headers_and_actions(
    client: httpx.AsyncClient, database: Database
) -> None:
    original = confirmed("order-1", 7)
    await store(database, parked(original))
    await client.post("/dead-letters/1/redrive", json=WHY)
    shown = (await client.get("/dead-letters/1")).json()
    assert shown["event"]["order_id"] == "order-1"
    assert (shown["key"], bytes.fromhex(shown["value"]), shown["truncated"]) == (
        "order-1",
        original.value,
        [],
    )
    assert {"name": "ce_type", "value": "OrderConfirmed"} in shown["headers"]
    [action] = shown["actions"]
    assert (action["what"], action["who"], action["why"]) == (
        "redriven",
        SOME_OPERATOR.subject,
        "the bug is fixed",
    )


async def test_a_dead_letter_that_is_too_long_to_show_names_what_is_truncated(
    client: httpx.AsyncClient, database: Database
) -> None:
    long = parked(
        confirmed("order-1", 7).__class__(
            "payments", 0, 7, 0, b"k" * 5000, bytes(1024 * 1024), [("h", b"x" * 5000)]
        )
    )
    await store(database, long)
    shown, [listed] = (
        (await client.get("/dead-letters/1")).json(),
        (await client.get("/dead-letters")).json()["dead_letters"],
    )
    assert shown["truncated"] == ["key", "value", "headers"]
    assert (shown["value_bytes"], listed["value_bytes"]) == (1024 * 1024, 1024 * 1024)
    assert len(shown["value"]) == 2 * 64 * 1024 and len(listed["value"]) == 64


async def test_a_dead_letter_is_redriven_byte_for_byte_to_its_consumer_alone_with_its_origin(
    client: httpx.AsyncClient, database: Database
) -> None:
    original = confirmed("order-1", 7)
    await store(database, parked(original, attempts=4))
    answer = await client.post("/dead-letters/1/redrive", json=WHY)
    assert (answer.status_code, answer.json()["status"], answer.json()["redrive"]) == (200, "redriven", 1)
    [(row, _, origin)] = await redriven_messages(database)
    assert (row.topic, row.key, row.payload, row.type) == (
        "orders.fraud.retry",
        original.key,
        original.value,
        None,
    )
    assert load_headers(row.headers)[: len(original.headers)] == list(original.headers)
    assert (origin.topic, origin.kafka_offset, origin.attempts, origin.redrive) == ("orders", 7, 4, 1)


async def test_a_redriven_dead_letter_may_be_redriven_again_with_a_higher_count(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(confirmed("order-1", 7)))
    answers = await asyncio.gather(*(client.post("/dead-letters/1/redrive", json=WHY) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert [origin.redrive for _, _, origin in await redriven_messages(database)] == list(range(1, 11))
    assert len(await stored(database, actions)) == 10


async def test_a_request_repeated_with_its_key_redrives_once(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, parked(confirmed("order-1", 7)))
    key = {"Idempotency-Key": "k-1"}
    answers = [await client.post("/dead-letters/1/redrive", json=WHY, headers=key) for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert len(await redriven_messages(database)) == 1


async def test_a_bulk_redrive_redrives_everything_that_matches_in_order_and_nothing_else(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(250), parked(confirmed("order-1", 7), consumer="orders"))
    await client.post("/dead-letters/3/discard", json=WHY)
    answer = await client.post("/dead-letters/redrive", json=WHY | {"consumer": "fraud"})
    assert answer.json() == {"count": 249, "next_after": None}
    offsets = [origin.kafka_offset for _, _, origin in await redriven_messages(database)]
    assert offsets == [n for n in range(250) if n != 2]
    assert await ids(client, status="parked") == [251]


async def test_of_a_concurrent_redrive_and_discard_only_one_succeeds(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(10))
    for dead_letter_id in range(1, 11):
        paths = [f"/dead-letters/{dead_letter_id}/redrive", f"/dead-letters/{dead_letter_id}/discard"]
        answers = await asyncio.gather(*(client.post(path, json=WHY) for path in paths))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
    done = await stored(database, actions)
    assert len(await redriven_messages(database)) == len(
        [action for action in done if action.what == "redriven"]
    )


async def test_discarding_again_changes_nothing_and_the_first_reason_stands(
    client: httpx.AsyncClient, database: Database
) -> None:
    await store(database, *many(1))
    await client.post("/dead-letters/1/discard", json=WHY)
    another = bearer(SIGNER.operator("bob"))
    again = await client.post("/dead-letters/1/discard", json={"why": "me too"}, headers=another)
    assert (again.status_code, again.json()["status"]) == (200, "discarded")
    assert [action["who"] for action in again.json()["actions"]] == [SOME_OPERATOR.subject]
