"""Card tokens of events whose handler fails, on a real Postgres: in no log, table of reasons, header or answer."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from sqlalchemy import Column, MetaData, Table, Text, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from chassis.consumer.batch import EventProcessor
from chassis.consumer.parking import parked as parked_table
from chassis.database import Database, driver
from chassis.events.avro import encode, frame
from chassis.events.record import Record
from chassis.masking import mask_log_line
from chassis.outbox.table import load_headers, outbox
from chassis.service import Service
from chassis.telemetry.logs import JsonLine
from schemas import Event, OrderPlaced
from schemas.files import parsed_schema
from services.dead_letters.tables import actions, dead_letters
from services.orders.api import app as orders_api
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.dead_letter_service import WHY, parked, redriven_messages, served, store, stored
from tests.support.order_bodies import ORDER
from tests.support.principals import client_of

TOKEN = "tok_known_again_41"
ANOTHER = "tok_another_42"
PLACED = 3
CARDS = Table("cards", MetaData(), Column("card", Text))

Handler = Callable[[Sequence[OrderPlaced], AsyncConnection], Awaitable[None]]


class PlacedSchemas:
    """The registry as processing sees it."""

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        return parsed_schema(OrderPlaced)

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        return True


def order(order_id: str = "o-1", card_token: str | None = TOKEN) -> OrderPlaced:
    return sample_events.order_placed(order_id, card_token=card_token)


def record(event: Event, **changes: Any) -> Record:
    headers = [
        ("ce_type", b"OrderPlaced"),
        ("ce_id", str(uuid4()).encode()),
        ("ce_subject", event.key.encode()),
    ]
    whole = Record(
        "orders", 0, 7, 1_700_000_000_000, event.key.encode(), frame(PLACED, encode(event)), headers
    )
    return replace(whole, **changes)


def contains(row: object, secret: str = TOKEN) -> bool:
    """Returns True if the secret is in the text of a row, or in its bytes as text or hex."""
    found = repr(row)
    return secret in found or secret.encode().hex() in found


async def quote_a_key(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    raise KeyError(orders[0].card_token)


async def break_a_constraint(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await db.execute(insert(CARDS), [{"card": each.card_token} for each in orders])


async def give_the_driver_a_wrong_type(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await driver(db).fetch("SELECT $1::int", orders[0].card_token)


async def give_postgres_a_wrong_value(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await db.execute(text("SELECT CAST(CAST(:card AS text) AS int)"), {"card": orders[0].card_token})


async def write_wrong_sql(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await db.execute(text("SELECT :card FROM WHERE"), {"card": orders[0].card_token})


FAILURES = (
    quote_a_key,
    break_a_constraint,
    give_the_driver_a_wrong_type,
    give_postgres_a_wrong_value,
    write_wrong_sql,
)


@pytest.mark.parametrize("fail", FAILURES, ids=lambda fail: fail.__name__)
async def test_a_parked_order_has_a_reason_without_its_card_token_and_keeps_its_bytes(
    fail: Handler, new_database: NewDatabase
) -> None:
    database = await new_database("fraud")
    await sample_events.change(database, "CREATE TABLE cards (card text CHECK (card IS NULL))")
    service = Service("fraud", MetaData())
    service.on(OrderPlaced)(fail)
    processor = EventProcessor(service, database, PlacedSchemas())
    original = record(order())
    with capture_logs() as lines:
        await processor.process([original], asyncio.Event())

    [row] = await stored(database, parked_table)
    assert row.value == original.value and TOKEN.encode() in row.value
    assert row.error_message and not contains(row.error_message)
    assert "[parameters:" not in row.error_message
    [dead_letter] = await stored(database, outbox)
    assert dict(load_headers(dead_letter.headers))["dlq_error_message"]
    assert not contains(dead_letter.headers)
    assert {"event_parked", "batch_failed"} <= {line["event"] for line in lines}
    assert not contains(lines)


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("dead_letters")


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with served(database) as client:
        yield client


async def keep(database: Database, original: Record, **added: Any) -> None:
    await store(database, parked(original, **added), schemas=PlacedSchemas())


async def everything(client: httpx.AsyncClient) -> dict[str, Any]:
    """Returns dead letter 1; fails if it, or the list, contains the token."""
    answers = [await client.get("/dead-letters"), await client.get("/dead-letters/1")]
    for answer in answers:
        assert answer.status_code == 200 and not contains(answer.text)
    shown: dict[str, Any] = answers[1].json()
    return shown


async def test_a_dead_letter_is_shown_with_a_masked_token_and_stored_and_redriven_byte_for_byte(
    client: httpx.AsyncClient, database: Database
) -> None:
    headers = [*record(order()).headers, ("x-api-token", b"hdr_1"), ("note", f"paid with {TOKEN}".encode())]
    original = record(order(), headers=headers)
    await keep(database, original, error_message=f"KeyError: '{TOKEN}'")

    shown = await everything(client)
    assert shown["event"] == order().to_record() | {"card_token": "***", "lines": shown["event"]["lines"]}
    assert shown["error_message"] == "KeyError: '***'"
    assert {"name": "x-api-token", "value": "***"} in shown["headers"]
    assert {"name": "note", "value": "paid with ***"} in shown["headers"]
    assert (shown["value"], shown["withheld"]) == ("0000000003", ["value"])

    answer = await client.post("/dead-letters/1/redrive", json=WHY)
    assert answer.status_code == 200 and not contains(answer.text)
    [(message, _, _)] = await redriven_messages(database)
    [row] = await stored(database, dead_letters)
    assert message.payload == row.value == original.value


@pytest.mark.parametrize("cut", [1, 20, 40])
async def test_bytes_that_cannot_be_decoded_are_withheld_where_events_have_secrets(
    cut: int, client: httpx.AsyncClient, database: Database
) -> None:
    whole = record(order())
    assert whole.value
    await keep(database, record(order(), value=whole.value[:-cut]))
    shown = await everything(client)
    assert shown["event"] is None and shown["decode_error"]
    assert (shown["value"], shown["withheld"]) == ("0000000003", ["value"])


async def test_an_order_without_a_card_is_shown_with_all_its_bytes(
    client: httpx.AsyncClient, database: Database
) -> None:
    original = record(order(card_token=None))
    await keep(database, original)
    shown = await everything(client)
    assert original.value and (shown["value"], shown["withheld"]) == (original.value.hex(), [])
    assert shown["event"]["card_token"] is None


async def correct(client: httpx.AsyncClient, document: dict[str, Any]) -> httpx.Response:
    return await client.post("/dead-letters/1/redrive", json=WHY | {"correction": document})


async def sent_tokens(database: Database) -> list[str | None]:
    """Returns the card tokens of what was redriven, as its consumer will read them."""
    messages = await sample_events.fetch(database, select(outbox.c.payload).order_by(outbox.c.id))
    events = [sample_events.decoded("OrderPlaced", message["payload"]) for message in messages]
    return [event.card_token for event in events if isinstance(event, OrderPlaced)]


async def test_a_correction_with_the_masked_token_is_sent_with_the_dead_letters_own_token(
    client: httpx.AsyncClient, database: Database
) -> None:
    await keep(database, record(order()))
    shown = await everything(client)
    answer = await correct(client, shown["event"] | {"total_cents": 7})
    assert answer.status_code == 200 and not contains(answer.text)
    assert await sent_tokens(database) == [TOKEN]
    [action] = await stored(database, actions)
    assert json.loads(action.correction)["card_token"] == TOKEN
    [shown_action] = (await everything(client))["actions"]
    assert (shown_action["correction"]["card_token"], shown_action["correction"]["total_cents"]) == ("***", 7)


async def test_after_a_correction_of_the_token_itself_its_mask_could_mean_either_and_is_refused(
    client: httpx.AsyncClient, database: Database
) -> None:
    await keep(database, record(order()))
    assert (await correct(client, order(card_token=ANOTHER).to_record())).status_code == 200
    refused = await correct(client, (await everything(client))["event"])
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["field"] == "correction.card_token" and "one of several" in error["message"]
    assert await sent_tokens(database) == [ANOTHER]


async def test_a_mask_for_a_token_that_nobody_knows_is_refused_and_nothing_is_sent(
    client: httpx.AsyncClient, database: Database
) -> None:
    await keep(database, record(order(), value=b"\x00"))
    refused = await correct(client, order(card_token="***").to_record())
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["field"] == "correction.card_token" and "give the value itself" in error["message"]
    assert await redriven_messages(database) == []


@pytest.mark.parametrize(
    "change",
    [
        {"card_token": 7},
        {"total_cents": TOKEN},
        {"payment_method": TOKEN},
        {"occurred_at": -1},
        {"order_id": "another"},
        {"more": TOKEN},
        {"lines": [{"product_id": TOKEN}]},
    ],
)
async def test_a_refused_correction_is_answered_without_its_token(
    change: dict[str, Any], client: httpx.AsyncClient, database: Database
) -> None:
    await keep(database, record(order()))
    with capture_logs() as lines:
        refused = await correct(client, order().to_record() | change)
    assert refused.status_code == 422 and not contains(refused.text)
    assert not contains(lines)


QUOTE_PAYLOADS = """
    CREATE FUNCTION quote_payload() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'a rule that quotes %', encode(NEW.payload, 'escape');
    END $$;
    CREATE TRIGGER quoting BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION quote_payload();
"""


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What a process would write to its log, by our own loggers and by those of libraries."""
    written: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(JsonLine().format(record))

    def keep(_: object, __: str, line: Any) -> Any:
        written.append(json.dumps(line, default=repr))
        raise structlog.DropEvent

    kept, before = Kept(), structlog.get_config()
    logging.getLogger().addHandler(kept)
    structlog.configure(processors=[structlog.processors.format_exc_info, mask_log_line, keep])
    yield written
    structlog.configure(**before)
    logging.getLogger().removeHandler(kept)


async def test_orders_that_cannot_be_stored_are_answered_and_logged_without_their_card_tokens(
    new_database: NewDatabase, lines: list[str]
) -> None:
    """Later orders share a transaction; its error is logged by a task that began with another request."""
    tokens = ["tok_first_41", "tok_second_42", "tok_third_43", "tok_fourth_44"]
    database = await new_database("orders")
    async with database.transaction() as db:
        await driver(db).execute(QUOTE_PAYLOADS)
    orders_api.state.database = database
    async with client_of(orders_api) as client:
        bodies = [ORDER | {"card_token": token} for token in tokens]
        answers = await asyncio.gather(*(client.post("/orders", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {500}
    assert not [answer for answer in answers for token in tokens if contains(answer.text, token)]
    assert any("group_failed" in line and "a rule that quotes" in line for line in lines)
    assert any("POST /orders failed" in line and "a rule that quotes" in line for line in lines)
    assert not [line for line in lines for token in tokens if contains(line, token)]
