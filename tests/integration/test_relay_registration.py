"""API and worker may be upgraded in either order: rows of a newer release wait for their own schema only."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from typing import Any

import httpx
import pytest

from chassis.consumer.inbox import inbox
from chassis.database import Database
from chassis.events.avro import FRAME, encode, frame
from chassis.outbox.forward import Message, forward
from chassis.outbox.relay import Relay
from schemas import FraudAssessed, OrderPlaced
from schemas.files import subject_named, versions_of
from tests.integration.conftest import NewDatabase
from tests.support.handling import example
from tests.support.kafka_topics import kafka_address, new_topic
from tests.support.recording_service import record, rows
from tests.support.registered import registered
from tests.support.running_relay import Topics, fetch, kafka_topics, running, until
from tests.support.stack import REPOSITORY, Stack, free_base

__all__ = ["kafka_topics"]

ASSESSED = versions_of(FraudAssessed)[-1][1]
NEXT_VERSION = FraudAssessed.SCHEMA_VERSION + 1


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


def next_version() -> str:
    """The text of a version that this release does not have."""
    schema = json.loads(ASSESSED)
    schema["fields"].append(
        {"name": "country", "type": ["null", "string"], "default": None, "doc": "Of the customer."}
    )
    return json.dumps(schema)


def of_type(name: str) -> str:
    return json.dumps(json.loads(ASSESSED) | {"name": name})


async def write(
    database: Database, topic: str, type_name: str, version: int, key: bytes, payload: bytes = b"v"
) -> None:
    async with database.engine.begin() as db:
        await forward(db, [Message(topic, key, payload, [], type_name, version)])


async def waiting(database: Database) -> list[Any]:
    return await fetch(
        database, "SELECT key, error_message FROM outbox WHERE set_aside_at IS NOT NULL ORDER BY id"
    )


async def has_retried(relay: Relay) -> bool:
    """Returns True once the relay has asked in vain whether what rows wait for is registered."""
    return relay._upkeep._schemas_due_at > 0


async def sent(database: Database) -> int:
    [(count,)] = await fetch(database, "SELECT count(*) FROM outbox WHERE published_at IS NOT NULL")
    return int(count)


async def test_rows_of_a_type_that_only_the_api_knows_wait_for_its_registration_and_stop_no_others(
    database: Database, kafka_topics: Topics
) -> None:
    topic = kafka_topics.new()
    subject = subject_named(topic, "OrderGifted")
    await write(database, topic, "OrderGifted", 1, b"gift", b"1")
    async with database.engine.begin() as db:
        await forward(db, [Message(topic, b"gift", b"waits", []), Message(topic, b"other", b"goes", [])])

    async def one_sent() -> bool:
        return await sent(database) == 1

    async def all_sent() -> bool:
        return await sent(database) == 3

    async with running(database, kafka_topics) as relay:
        await until(one_sent)
        await until(lambda: has_retried(relay), 15)
        [row] = await waiting(database)
        assert row.error_message == f"{subject} v1 is not registered: run `fanout setup`"
        with registered(kafka_topics.registry_url, subject, of_type("OrderGifted")) as [schema_id]:
            began = time.monotonic()
            await until(all_sent, 15)
            seconds = time.monotonic() - began
    print(f"sent {seconds:.1f} s after the registration")
    assert seconds < 8
    assert kafka_topics.values(topic) == [b"goes", frame(schema_id, b"1"), b"waits"]


async def test_a_version_that_only_the_api_knows_is_framed_with_its_own_id(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka_topics.new()
    monkeypatch.setattr(FraudAssessed, "TOPIC", topic)
    await write(database, topic, "FraudAssessed", NEXT_VERSION, b"new")
    await write(database, topic, "FraudAssessed", NEXT_VERSION - 1, b"old")
    subject = subject_named(topic, "FraudAssessed")
    known = dict(versions_of(FraudAssessed)).values()

    async def all_sent() -> bool:
        return await sent(database) == 2

    with registered(kafka_topics.registry_url, subject, *known, next_version()) as ids:
        async with running(database, kafka_topics):
            await until(all_sent)
    values = kafka_topics.values(topic)
    assert [FRAME.unpack_from(value or b"")[1] for value in values] == [ids[-1], ids[-2]]
    assert ids[-1] != ids[-2]


async def test_a_version_is_not_looked_up_by_a_number_that_means_another_one(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody registered a version between ours, so the registry counts one more."""
    topic = kafka_topics.new()
    monkeypatch.setattr(FraudAssessed, "TOPIC", topic)
    subject = subject_named(topic, "FraudAssessed")
    await write(database, topic, "FraudAssessed", NEXT_VERSION, b"new")
    await write(database, topic, "FraudAssessed", NEXT_VERSION - 1, b"old")

    async def one_sent() -> bool:
        return await sent(database) == 1

    inserted = json.loads(next_version().replace("country", "inserted"))
    known = dict(versions_of(FraudAssessed)).values()
    texts = json.dumps(inserted), *known, next_version()
    with registered(kafka_topics.registry_url, subject, *texts):
        async with running(database, kafka_topics):
            await until(one_sent)
            [row] = await until(lambda: waiting(database))
    assert row.key == b"new" and "has the number 2 in the registry" in row.error_message


async def test_rows_wait_out_a_registry_that_is_away_and_the_relay_keeps_its_term(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = kafka_topics.new()
    await write(database, topic, "OrderGifted", 1, b"gift")

    async def is_waiting() -> bool:
        return len(await waiting(database)) == 1

    async with running(database, kafka_topics) as relay:
        await until(is_waiting)
        failures = list[Exception]()
        monkeypatch.setattr(relay.health, "failed", failures.append)
        monkeypatch.setattr(relay._registry._http, "base_url", httpx.URL("http://127.0.0.1:1"))

        await until(lambda: has_retried(relay), 15)
        async with database.engine.begin() as db:
            await forward(db, [Message(topic, b"other", b"goes", [])])
        relay.wake()

        async def one_sent() -> bool:
            return await sent(database) == 1

        await until(one_sent)
        assert relay.health.is_active and failures == []


@contextmanager
def worker(database: Database, kafka: str, registry_url: str, topic: str) -> Iterator[str]:
    """The fraud worker, whose events and whose orders are on a topic of the test's own. Yields its health address."""
    port = free_base()
    settings = {
        "FANOUT_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "FANOUT_KAFKA": kafka,
        "FANOUT_REGISTRY_URL": registry_url,
        "FANOUT_HTTP_PORT": str(port),
    }
    changes = {
        "service": "fraud",
        "name": topic,
        "topics": {"OrderPlaced": topic, "FraudAssessed": topic},
        "unknown": [],
        "handled": ["OrderPlaced"],
    }
    command = [sys.executable, "-m", "tests.support.release_worker", json.dumps(changes)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environ | settings, stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{port}/health/ready"
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=20)
        assert "schemas_not_registered" in output and "schemas_registered" in output


async def test_an_unregistered_version_is_noticed_at_the_start_and_stops_no_consumer(
    request: pytest.FixtureRequest, database: Database, stack: Stack
) -> None:
    url, kafka = stack.addresses.registry_url, kafka_address(request)
    async with new_topic(kafka, database) as topic:
        placed = subject_named(topic.name, "OrderPlaced")
        assessed = subject_named(topic.name, "FraudAssessed")

        async def answer() -> tuple[int, Any]:
            async with httpx.AsyncClient(trust_env=False) as client:
                try:
                    response = await client.get(ready)
                except httpx.HTTPError:
                    return 0, {}
                return response.status_code, response.json()

        async def is_reported() -> bool:
            status, body = await answer()
            return status == 503 and bool(body["not_registered"])

        async def is_ready() -> bool:
            status, _ = await answer()
            return status == 200

        async def has_consumed() -> bool:
            return len(await rows(database, inbox)) == 1

        with (
            registered(url, placed, versions_of(OrderPlaced)[-1][1]) as [schema_id],
            worker(database, kafka, url, topic.name) as ready,
        ):
            await until(is_reported, 30)
            _, body = await answer()
            assert body["not_registered"][0] == f"{assessed} v1 is not registered: run `fanout setup`"
            order = example(OrderPlaced)
            topic.send(0, record("OrderPlaced", order.order_id, 0, frame(schema_id, encode(order))))
            await until(has_consumed, 30)
            assert (await answer())[0] == 503
            began = time.monotonic()
            with registered(url, assessed, *dict(versions_of(FraudAssessed)).values()):
                await until(is_ready, 15)
                print(f"ready {time.monotonic() - began:.1f} s after the registration")
                assert (await answer())[1]["not_registered"] == []

                async def is_sent() -> bool:
                    return await sent(database) == 1

                await until(is_sent, 15)
