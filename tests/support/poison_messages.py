"""Every way of being unusable that we know of: eighteen kinds of message that no consumer can apply."""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import httpx

import schemas
from chassis.events.avro import encode, frame
from tests.support import sample_events

Headers = list[tuple[str, str | bytes | None]]
Poison = tuple[bytes | None, Headers]

MEBIBYTE = 1024 * 1024
NOTHINGS = {"name": "nothings", "type": {"type": "array", "items": "null"}}
BOMB = json.dumps({"type": "record", "name": "Bomb", "namespace": "fanout", "fields": [NOTHINGS]})
TEN_MILLION_NULLS = b"\x80\xda\xc4\x09\x00"
IMPOSSIBLE_ID = "\x00"
GOOD: dict[str, Callable[[str], schemas.Event]] = {
    "OrderPlaced": sample_events.order_placed,
    "OrderConfirmed": sample_events.order_confirmed,
    "OrderCancelled": sample_events.order_cancelled,
    "PaymentProcessed": sample_events.payment_processed,
    "StockReserved": sample_events.stock_reserved,
    "StockRejected": sample_events.stock_rejected,
    "FraudAssessed": sample_events.fraud_assessed,
    "OrderShipped": sample_events.order_shipped,
}


def headers(event_type: str | None, event_id: str | None) -> Headers:
    named = {"ce_type": event_type, "ce_id": event_id, "ce_subject": "poison"}
    return [(name, value) for name, value in named.items() if value]


def impossible(handled: str) -> schemas.Event:
    """Valid Avro, and against a rule of every database: no text holds a NUL."""
    return replace(GOOD[handled]("order"), order_id=IMPOSSIBLE_ID)  # type: ignore[call-arg]


def kinds(
    handled: str, schema_id: int, another_id: int, bomb_id: int, unknown_producer: tuple[str, int]
) -> dict[str, Callable[[], Poison]]:
    """By name, what makes one; `schema_id` is that of `handled`, a type that all readers of the topic listen to.

    `unknown_producer` is a type of another topic, with its schema id.
    """
    good = encode(GOOD[handled](str(uuid4())))
    misplaced = frame(unknown_producer[1], encode(GOOD[unknown_producer[0]](IMPOSSIBLE_ID)))

    def of_type(value: bytes | None, *more: tuple[str, bytes]) -> Callable[[], Poison]:
        return lambda: (value, [*headers(handled, str(uuid4())), *more])

    return {
        "empty": of_type(b""),
        "tombstone": of_type(None),
        "one byte": of_type(b"\x00"),
        "bad magic": of_type(b"\x01" + struct.pack(">I", schema_id) + good),
        "truncated": of_type(frame(schema_id, good[: len(good) // 2])),
        "random": of_type(random.Random(9).randbytes(200)),
        "unknown id": of_type(frame(999_999, good)),
        "another subject's id": of_type(frame(another_id, good)),
        "impossible values": of_type(frame(schema_id, encode(impossible(handled)))),
        "1 MiB": of_type(frame(schema_id, bytes(MEBIBYTE - 5))),
        "zero-width bomb": of_type(frame(bomb_id, TEN_MILLION_NULLS)),
        "another order's key": of_type(frame(schema_id, good)),
        "another topic's type": lambda: (misplaced, headers(unknown_producer[0], str(uuid4()))),
        "no headers": lambda: (frame(schema_id, good), []),
        "huge headers": lambda: (
            b"",
            [*headers(handled, str(uuid4())), *[(f"h{n}", b"x" * 4096) for n in range(100)]],
        ),
        "no id": lambda: (frame(schema_id, good), headers(handled, None)),
        "id that is none": lambda: (frame(schema_id, good), headers(handled, "not-a-uuid")),
        "unknown type": lambda: (frame(schema_id, good), headers("NeverHeardOf", str(uuid4()))),
    }


async def register_bomb(registry_url: str) -> int:
    async with httpx.AsyncClient(timeout=10, trust_env=False) as registry:
        answer = await registry.post(
            f"{registry_url}/subjects/poison-fanout.Bomb/versions", json={"schema": BOMB}
        )
        return int(answer.raise_for_status().json()["id"])
