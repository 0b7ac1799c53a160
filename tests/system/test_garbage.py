"""Bytes that nobody should have sent, on every topic: parked once by each reader, and the partition moves on."""

import struct
from uuid import uuid4

import asyncpg
import pytest
from confluent_kafka import Producer

import schemas
from chassis.avro import encode, frame
from tests.system.conftest import System, until

TOPICS = sorted({event_type.TOPIC for event_type in schemas.EVENTS})
PARTITIONS = 6


def headers(event_type: str | None, event_id: str | None) -> list[tuple[str, str | bytes | None]]:
    named = {"ce_type": event_type, "ce_id": event_id, "ce_subject": "garbage"}
    return [(name, value) for name, value in named.items() if value]


def garbage(topic: str, heard: str) -> dict[str, tuple[bytes | None, list[tuple[str, str | bytes | None]]]]:
    """By kind: a value and its headers. `heard` is an event type that the readers of the topic listen to."""
    other = next(event_type for event_type in schemas.EVENTS if heard != event_type.NAME)

    def with_good_headers() -> list[tuple[str, str | bytes | None]]:
        return headers(heard, str(uuid4()))

    return {
        "empty value": (b"", with_good_headers()),
        "tombstone": (None, with_good_headers()),
        "one byte": (b"\x00", with_good_headers()),
        "bad magic": (b"\x01" + struct.pack(">I", 1) + b"xxxx", with_good_headers()),
        "unknown schema id": (frame(999_999, b"xxxx"), with_good_headers()),
        "random bytes": (b"\xff\xfe not avro at all", with_good_headers()),
        "no headers": (b"\x00\x00\x00\x00\x01xxxx", []),
        "no id": (frame(1, b"xxxx"), headers(heard, None)),
        "id that is none": (frame(1, b"xxxx"), headers(heard, "not-a-uuid")),
        "unknown type": (frame(1, b"xxxx"), headers("NeverHeardOf", str(uuid4()))),
        "another's schema": (frame(1, encode_something(other)), with_good_headers()),
    }


def encode_something(event_type: type[schemas.Event]) -> bytes:
    event = schemas.OrderConfirmed(
        order_id="x", order_version=2, customer_id="c", total_cents=1, currency="EUR", occurred_at=0
    )
    return encode(event)[:-2]


@pytest.mark.parametrize("topic", TOPICS)
async def test_garbage_is_parked_once_with_a_reason_and_the_partition_moves_on(
    system: System, topic: str
) -> None:
    readers = await listeners(system, topic)
    assert readers, f"nobody listens to {topic}"
    before = {reader: await parked(system, reader, topic) for reader in readers}
    sent = send(system, topic, garbage(topic, heard=await common_type(system, topic, list(readers))))

    for reader in readers:

        async def all_parked(reader: str = reader) -> list[asyncpg.Record] | None:
            found = (await parked(system, reader, topic))[len(before[reader]) :]
            return found if len(found) >= sent else None

        found = await until(all_parked)
        assert len(found) == sent
        assert all(row["error_message"] and row["failure"] == "permanent" for row in found)
        dead_letters = await system.query(
            reader, "SELECT 1 FROM outbox WHERE topic = $1 AND type IS NULL", f"{topic}.{reader}.dlq"
        )
        assert len(dead_letters) == len(before[reader]) + sent

    await system.until_status(await system.order(), "shipped")
    await system.settled()


async def listeners(system: System, topic: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for service in system.stack.addresses.databases:
        rows = await system.query(service, "SELECT type FROM subscriptions WHERE topic = $1", topic)
        if rows:
            found[service] = {row["type"] for row in rows}
    return found


async def common_type(system: System, topic: str, readers: list[str]) -> str:
    """A type that every reader of the topic listens to."""
    heard = await listeners(system, topic)
    return sorted(set.intersection(*(heard[reader] for reader in readers)))[0]


async def parked(system: System, reader: str, topic: str) -> list[asyncpg.Record]:
    return await system.query(reader, "SELECT * FROM parked WHERE topic = $1 ORDER BY id", topic)


def send(
    system: System, topic: str, kinds: dict[str, tuple[bytes | None, list[tuple[str, str | bytes | None]]]]
) -> int:
    producer = Producer({"bootstrap.servers": system.stack.addresses.kafka})
    for value, named in kinds.values():
        for partition in range(PARTITIONS):
            producer.produce(topic, value, b"garbage", partition=partition, headers=named)
    assert producer.flush(10) == 0
    return len(kinds) * PARTITIONS
