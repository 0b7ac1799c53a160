"""Eighteen kinds of poison in every partition of every topic: parked once by each reader, and nobody waits for it."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import asyncpg
import pytest
from confluent_kafka import Producer

import schemas
from chassis.events.record import EVENT_TYPES
from chassis.events.registry import Registry
from tests.support.poison_messages import GOOD, IMPOSSIBLE_ID, Poison, kinds, register_bomb
from tests.support.system import System, until

TOPICS = sorted({event_type.TOPIC for event_type in schemas.EVENTS})
PARTITIONS = 6
PRODUCERS = {"shipments": "fulfillment"} | {topic: topic for topic in TOPICS if topic != "shipments"}
BEHIND_SECONDS = 5
LATE = ("tombstone", "no id", "id that is none", "unknown type")
PUBLISHED = "SELECT event_id, published_at FROM outbox WHERE topic = $1 AND published_at > $2"
RECEIVED = "SELECT event_id, received_at FROM inbox WHERE status = 'applied' AND event_id = ANY($1)"
LETTERS = "SELECT count(*)::int AS dead_letters FROM dead_letters WHERE consumer = $1 AND topic = $2"


@pytest.mark.parametrize("topic", TOPICS)
async def test_poison_is_parked_once_with_a_reason_and_what_is_behind_it_is_applied_in_time(
    system: System, topic: str
) -> None:
    readers = await listeners(system, topic)
    before = {
        reader: (await parked(system, reader, topic), await letters(system, reader, topic))
        for reader in readers
    }
    restarts = await restarted(system)
    load = asyncio.create_task(system.load(40, 20))
    handled = common_type(readers)
    sent = await poisoned(system, topic, handled, late=False)
    sent_at = datetime.now(UTC)

    behind = [await system.order() for _ in range(12)]
    for order_id in behind:
        await system.until_status(order_id, "shipped", seconds=60)
    sent += await poisoned(system, topic, handled, late=True)

    for reader in readers:

        async def all_parked(reader: str = reader) -> list[asyncpg.Record] | None:
            found = (await parked(system, reader, topic))[len(before[reader][0]) :]
            return found if len(found) >= sent else None

        found = await until(all_parked)
        assert len(found) == sent
        assert all(row["error_message"] and row["failure"] == "permanent" for row in found)

        async def all_filed(reader: str = reader) -> int | None:
            filed = await letters(system, reader, topic) - before[reader][1]
            return filed if filed >= sent else None

        assert await until(all_filed) == sent

    assert (await load).complete
    await system.settled()
    assert await restarted(system) == restarts
    longest = {reader: await longest_wait(system, reader, topic, sent_at) for reader in readers}
    print(f"{sent} poisonous messages in {topic}; longest wait of an event behind them: {longest}")
    assert max(longest.values()) <= BEHIND_SECONDS


async def longest_wait(system: System, reader: str, topic: str, since: datetime) -> float:
    """From Kafka into the reader's database, of the events that came to the topic after the poison."""
    rows = await system.query(PRODUCERS[topic], PUBLISHED, topic, since)
    published = {row["event_id"]: row["published_at"] for row in rows}
    received = await system.query(reader, RECEIVED, list(published))
    assert received
    return float(max((row["received_at"] - published[row["event_id"]]).total_seconds() for row in received))


async def poisoned(system: System, topic: str, handled: str, late: bool) -> int:
    """Sends fourteen kinds, or the others, to every partition; how many messages that were."""
    registry = Registry(system.stack.addresses.registry_url)
    other = next(event_type for event_type in schemas.EVENTS if handled != event_type.NAME)
    stranger = next(each for each in schemas.EVENTS if topic != each.TOPIC and each.NAME in GOOD)
    made = kinds(
        handled,
        schema_id=await registry.schema_id(EVENT_TYPES[handled], EVENT_TYPES[handled].SCHEMA_VERSION),
        another_id=await registry.schema_id(other, other.SCHEMA_VERSION),
        bomb_id=await register_bomb(system.stack.addresses.registry_url),
        unknown_producer=(
            stranger.NAME,
            await registry.schema_id(stranger, stranger.SCHEMA_VERSION),
        ),
    )
    await registry.aclose()
    chosen = [make for kind, make in made.items() if (kind in LATE) == late]
    messages = [(partition, make()) for make in chosen for partition in range(PARTITIONS)]
    await asyncio.to_thread(send, system.stack.addresses.kafka, topic, messages)
    return len(messages)


def send(kafka: str, topic: str, messages: list[tuple[int, Poison]]) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka, "message.max.bytes": 2 * 1024 * 1024, "batch.num.messages": 1}
    )
    failed: list[str] = []
    for partition, (value, named) in messages:
        producer.produce(
            topic,
            value,
            IMPOSSIBLE_ID.encode(),
            partition=partition,
            headers=named,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
    assert producer.flush(20) == 0 and not failed


async def listeners(system: System, topic: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for service in system.stack.addresses.databases:
        rows = await system.query(service, "SELECT type FROM subscriptions WHERE topic = $1", topic)
        if rows:
            found[service] = {row["type"] for row in rows}
    assert found, f"nobody listens to {topic}"
    return found


def common_type(readers: Mapping[str, set[str]]) -> str:
    """A type that every reader of the topic listens to."""
    return sorted(set.intersection(*readers.values()))[0]


async def parked(system: System, reader: str, topic: str) -> list[asyncpg.Record]:
    return await system.query(
        reader, "SELECT failure, error_message FROM parked WHERE topic = $1 ORDER BY id", topic
    )


async def letters(system: System, reader: str, topic: str) -> int:
    [row] = await system.query("dead_letters", LETTERS, reader, topic)
    return int(row["dead_letters"])


async def restarted(system: System) -> dict[str, int]:
    status = json.loads(await system.fanout("status", "--json"))
    return {process["process"]: process["restarts"] for process in status["processes"]}
