"""What becomes of a record, by event type, schema id and topic: each row of the table in chassis/events/decoding.py."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import pytest
from prometheus_client import REGISTRY

from chassis.consumer.batch import EventProcessor
from chassis.consumer.ignored import ignored_events
from chassis.consumer.inbox import inbox
from chassis.consumer.offsets import consumer_offsets
from chassis.consumer.parking import parked
from chassis.database import Database
from chassis.dead_letters.reader import read_dead_letter
from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.events.registry import Registry
from schemas import OrderCancelled, OrderConfirmed
from schemas.files import versions_of
from tests.support.handling import example
from tests.support.recording_service import RecordingService, confirmed, counts, noted, record, rows
from tests.support.registered import registered
from tests.support.stack import Stack

GIFTED = json.dumps(
    {
        "type": "record",
        "name": "OrderGifted",
        "namespace": "fanout",
        "fields": [{"name": "order_id", "type": "string"}],
    }
)
OF_CONFIRMED = versions_of(OrderConfirmed)[-1][1]


@dataclass(frozen=True)
class Ids:
    """Schema ids in the registry; `elsewhere` fits OrderConfirmed by its name, but belongs to another topic."""

    confirmed: int
    cancelled: int
    gifted: int
    elsewhere: int
    unknown: int = 999_999


@pytest.fixture
async def registry(stack: Stack) -> AsyncIterator[Registry]:
    client = Registry(stack.addresses.registry_url)
    yield client
    await client.aclose()


@pytest.fixture
async def ids(stack: Stack, registry: Registry, gifted: int, elsewhere: int) -> Ids:
    of_confirmed, of_cancelled = [
        await registry.schema_id(each, 1) for each in (OrderConfirmed, OrderCancelled)
    ]
    return Ids(of_confirmed, of_cancelled, gifted, elsewhere)


@pytest.fixture
def gifted(stack: Stack) -> Iterator[int]:
    with registered(stack.addresses.registry_url, "orders-fanout.OrderGifted", GIFTED) as [schema_id]:
        yield schema_id


@pytest.fixture
def elsewhere(stack: Stack) -> Iterator[int]:
    schema = json.loads(OF_CONFIRMED)
    schema["fields"].append({"name": "theirs", "type": ["null", "int"], "default": None})
    text = json.dumps(schema)
    with registered(stack.addresses.registry_url, "elsewhere-fanout.OrderConfirmed", text) as [schema_id]:
        yield schema_id


def written(type_name: str, schema_id: int, offset: int = 0, topic: str = "orders") -> Record:
    payload = encode(example(OrderConfirmed, order_id=f"o-{offset}"))
    return replace(record(type_name, f"o-{offset}", offset, frame(schema_id, payload)), topic=topic)


async def process(
    recorder: RecordingService, database: Database, registry: Registry, *records: Record
) -> None:
    await EventProcessor(recorder.service, database, registry).process(records, asyncio.Event())


async def what_became(recorder: RecordingService, database: Database) -> str:
    found = [
        *["applied" for _ in await noted(recorder, database)],
        *[f"parked {row.error_type}: {row.error_message}" for row in await rows(database, parked)],
        *[f"ignored {row.events} {row.type}" for row in await rows(database, ignored_events)],
    ]
    return ", ".join(found) or "skipped"


@pytest.mark.parametrize(
    ("type_name", "schema", "topic", "outcome"),
    [
        ("OrderConfirmed", "confirmed", "orders", "applied"),
        ("OrderConfirmed", "cancelled", "orders", "parked ForeignSchemaId: the schema with the id"),
        ("OrderConfirmed", "elsewhere", "orders", "parked ForeignSchemaId: the schema with the id"),
        ("OrderConfirmed", "gifted", "orders", "parked ForeignSchemaId: the schema with the id"),
        ("OrderConfirmed", "unknown", "orders", "parked UnknownSchemaId: no schema has the id 999999"),
        (
            "OrderConfirmed",
            "confirmed",
            "payments",
            "parked PermanentFailure: OrderConfirmed belongs to the topic",
        ),
        ("OrderPlaced", "elsewhere", "orders", "skipped"),
        ("OrderPlaced", "confirmed", "payments", "parked PermanentFailure: OrderPlaced belongs to the topic"),
        ("OrderGifted", "gifted", "orders", "ignored 1 OrderGifted"),
        ("OrderGifted", "confirmed", "orders", "parked PermanentFailure: unknown event type 'OrderGifted'"),
        ("OrderGifted", "elsewhere", "orders", "parked PermanentFailure: unknown event type 'OrderGifted'"),
        (
            "OrderGifted",
            "unknown",
            "orders",
            "parked PermanentFailure: unknown event type 'OrderGifted': no schema",
        ),
        ("OrderGifted", "gifted", "payments", "parked PermanentFailure: unknown event type 'OrderGifted'"),
        (
            "OrderGifted",
            "gifted",
            "orders.fraud.retry",
            "parked PermanentFailure: unknown event type 'OrderGifted'",
        ),
        ("", "gifted", "orders", "parked PermanentFailure: missing header ce_type"),
    ],
)
async def test_type_schema_id_and_topic_decide(
    recorder: RecordingService,
    database: Database,
    registry: Registry,
    ids: Ids,
    type_name: str,
    schema: str,
    topic: str,
    outcome: str,
) -> None:
    await process(recorder, database, registry, written(type_name, getattr(ids, schema), topic=topic))
    assert (await what_became(recorder, database)).startswith(outcome)


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"garbage!", bytes(5)])
async def test_an_unknown_type_without_a_schema_id_is_parked(
    recorder: RecordingService, database: Database, registry: Registry, value: bytes | None
) -> None:
    await process(recorder, database, registry, replace(record("OrderGifted", "o", 0, b""), value=value))
    assert (await what_became(recorder, database)).startswith("parked PermanentFailure: unknown event type")


class Away(Registry):
    """A registry that does not answer so many times."""

    away = 3

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        if self.away:
            self.away -= 1
            raise InfrastructureFailure("registry away")
        return await super().is_registered(schema_id, subject)


@pytest.mark.parametrize(
    ("type_name", "outcome"), [("OrderGifted", "ignored 1"), ("OrderConfirmed", "parked")]
)
async def test_while_the_registry_is_away_nothing_is_decided(
    recorder: RecordingService,
    database: Database,
    stack: Stack,
    ids: Ids,
    monkeypatch: pytest.MonkeyPatch,
    type_name: str,
    outcome: str,
) -> None:
    monkeypatch.setattr("chassis.consumer.retry.FIRST_OUTAGE_WAIT_SECONDS", 0.001)
    away = Away(stack.addresses.registry_url)
    await process(recorder, database, away, written(type_name, ids.gifted))
    await away.aclose()
    assert away.away == 0 and (await what_became(recorder, database)).startswith(outcome)


class Counting(Registry):
    """Counts what the registry is asked for."""

    asked = 0

    async def _fetch_subjects(self, schema_id: int) -> list[str]:
        self.asked += 1
        return await super()._fetch_subjects(schema_id)


@pytest.mark.parametrize(
    ("type_name", "schema"), [("OrderConfirmed", "elsewhere"), ("OrderGifted", "unknown")]
)
async def test_what_refuses_one_record_of_a_batch_is_not_asked_for_each_of_them(
    recorder: RecordingService, database: Database, stack: Stack, ids: Ids, type_name: str, schema: str
) -> None:
    counting = Counting(stack.addresses.registry_url)
    records = [written(type_name, getattr(ids, schema), n) for n in range(50)]
    await process(recorder, database, counting, *records)
    await counting.aclose()
    assert len(await rows(database, parked)) == 50
    assert counting.asked == 1


async def test_an_id_that_was_refused_in_one_batch_is_asked_for_in_the_next(
    recorder: RecordingService, database: Database, stack: Stack, ids: Ids
) -> None:
    registry, subject = Registry(stack.addresses.registry_url), "orders-fanout.OrderReturned"
    processor = EventProcessor(recorder.service, database, registry)
    text = OF_CONFIRMED.replace('"OrderConfirmed"', '"OrderReturned"')
    with registered(stack.addresses.registry_url, "elsewhere-fanout.OrderReturned", text) as [schema_id]:
        await processor.process([written("OrderReturned", schema_id, 0)], asyncio.Event())
        with registered(stack.addresses.registry_url, subject, text):
            await processor.process([written("OrderReturned", schema_id, 1)], asyncio.Event())
    await registry.aclose()
    assert [row.kafka_offset for row in await rows(database, parked)] == [0]
    [row] = await rows(database, ignored_events)
    assert row.first_offset == 1


def metric(outcome: str) -> float:
    labels = {"consumer": "fraud", "topic": "orders", "outcome": outcome}
    return REGISTRY.get_sample_value("fanout_events_total", labels) or 0.0


async def test_ignored_events_are_counted_once_and_stop_no_others(
    recorder: RecordingService, database: Database, registry: Registry, ids: Ids
) -> None:
    known, unknown = ("OrderConfirmed", ids.confirmed), ("OrderGifted", ids.gifted)
    records = [written(*(unknown if n % 2 else known), n) for n in range(10)]
    processor, before = EventProcessor(recorder.service, database, registry), metric("ignored")
    for first, end in ((4, 8), (6, 10), (4, 6), (2, 6)):
        await processor.process(records[first:end], asyncio.Event())
    [row] = await rows(database, ignored_events)
    assert (row.consumer, row.topic, row.partition, row.type) == ("fraud", "orders", 0, "OrderGifted")
    assert (row.first_offset, row.last_offset, row.events) == (3, 9, 4)
    assert row.first_at == row.last_at == records[0].at
    assert await rows(database, parked) == []
    assert len(await noted(recorder, database)) == len(await rows(database, inbox)) == 4
    assert metric("ignored") - before == 7, "the metric counts records, as the others do"


async def test_a_batch_of_nothing_but_ignored_events_moves_the_offset_with_its_row(
    recorder: RecordingService, database: Database, registry: Registry, ids: Ids
) -> None:
    await process(recorder, database, registry, *[written("OrderGifted", ids.gifted, n) for n in (7, 8)])
    assert await counts(database) == {
        "received": 0,
        "applied": 0,
        "duplicates": 0,
        "parked": 0,
        "next_offset": 9,
    }


async def test_the_row_and_the_effects_of_its_batch_commit_together(
    recorder: RecordingService,
    database: Database,
    registry: Registry,
    ids: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chassis.consumer.offsets.advance", fails)
    with pytest.raises(KeyboardInterrupt):
        await process(recorder, database, registry, written("OrderGifted", ids.gifted))
    assert await rows(database, ignored_events) == await rows(database, consumer_offsets) == []


async def test_an_ignored_event_beside_one_that_fails_is_ignored_once(
    recorder: RecordingService, database: Database, registry: Registry, ids: Ids
) -> None:
    recorder.failures["o-1"] = [PermanentFailure("against the rules")] * 9
    batch = [written("OrderGifted", ids.gifted, n) for n in (0, 2, 4)]
    bad = written("OrderConfirmed", ids.confirmed, 1)
    await process(recorder, database, registry, batch[0], bad, *batch[1:])
    assert (
        await what_became(recorder, database)
        == "parked PermanentFailure: against the rules, ignored 3 OrderGifted"
    )


async def test_the_search_for_a_crash_ignores_an_unknown_type_as_a_batch_does(
    recorder: RecordingService,
    database: Database,
    registry: Registry,
    ids: Ids,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Crash(BaseException):
        pass

    async def crashes(*_: object) -> None:
        raise Crash

    batch = [written("OrderGifted", ids.gifted, 0), written("OrderConfirmed", ids.confirmed, 1)]
    with monkeypatch.context() as patched:
        patched.setattr("chassis.consumer.batch.claim", crashes)
        with pytest.raises(Crash):
            await process(recorder, database, registry, *batch)
    await process(recorder, database, registry, *batch)
    await process(recorder, database, registry, *batch)
    assert await what_became(recorder, database) == "applied, ignored 1 OrderGifted"


async def test_a_dead_letter_of_a_type_that_only_a_newer_release_knows_says_so(
    registry: Registry, ids: Ids
) -> None:
    dead_letter = await read_dead_letter(
        written("OrderGifted", ids.gifted, topic="orders.fraud.dlq"), registry
    )
    assert dead_letter.event is None
    assert dead_letter.decode_error == (
        "this release does not know the event type OrderGifted, but it is registered"
    )


async def test_an_id_of_equal_texts_belongs_to_each_of_its_fetch_subjects(
    recorder: RecordingService, database: Database, stack: Stack, registry: Registry, ids: Ids
) -> None:
    url = stack.addresses.registry_url
    with registered(url, "another-fanout.OrderConfirmed", OF_CONFIRMED) as [schema_id]:
        assert schema_id == ids.confirmed
        await process(recorder, database, registry, confirmed("shared", 0))
        await process(recorder, database, registry, written("OrderConfirmed", schema_id, 1))
    assert ("o-1", "confirmed") in await noted(recorder, database)
