"""A card's token is in no log, no HTTP answer and no output of the tool, whatever fails around it on the real stack."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from confluent_kafka import Producer

from chassis.events.avro import encode, frame
from chassis.events.registry import Registry
from schemas import OrderPlaced
from tests.support import sample_events
from tests.support.stack import REPOSITORY
from tests.support.system import System, until

TOKEN = f"tok_recognizable_{uuid4().hex}"
FORMS = {
    TOKEN,
    TOKEN.encode().hex(),
    *(b64encode(b" " * n + TOKEN.encode()).decode()[4:-4] for n in range(3)),
}
WHY = {"why": "to see what is shown"}
CUSTOMER_ID = "customer-secret"

PARKED_IN = ("orders.fraud.dlq", "orders.payments.dlq")
WITH_TOKENS = (
    ("orders", "outbox"),
    ("orders", "idempotency_keys"),
    ("payments", "parked"),
    ("payments", "outbox"),
    ("fraud", "parked"),
    ("dead_letters", "dead_letters"),
    ("dead_letters", "actions"),
)


class Seen:
    """What the system showed, by where."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def add(self, where: str, text: str) -> None:
        self._texts[where] = self._texts.get(where, "") + text

    def answer(self, answer: httpx.Response) -> httpx.Response:
        self.add(f"{answer.request.method} {answer.request.url.path}: {answer.status_code}", answer.text)
        return answer

    @property
    def places(self) -> set[str]:
        return set(self._texts)

    @property
    def leaks(self) -> dict[str, str]:
        """Returns, by place, the first text around the token."""
        found = {}
        for where, text in self._texts.items():
            for form in FORMS:
                if (at := text.find(form)) >= 0:
                    found[where] = text[max(at - 120, 0) : at + len(form) + 40]
        return found


async def test_a_card_token_is_in_no_log_answer_or_output_of_the_tool(system: System) -> None:
    await system.fanout("dlq", "discard", "--all", "--why", "of another test")
    logs_before = {file: file.stat().st_size for file in log_files(system)}
    seen = Seen()
    order_ids = [await system.order(card_token=TOKEN) for _ in range(3)]
    for order_id in order_ids:
        await system.until_status(order_id, "cancelled")  # by the card's issuer, who does not know the token
    await place_orders_that_are_refused(system, seen)
    async with constraint(system, "orders", "outbox", "type IS DISTINCT FROM 'OrderPlaced'"):
        failed = seen.answer(await post_order(system, order_body()))
        assert failed.status_code == 500
    async with constraint(system, "payments", "payments", "payment_method IS DISTINCT FROM 'card'"):
        async with constraint(system, "dead_letters", "dead_letters", "false"):
            order_ids.append(await system.order(card_token=TOKEN))
            await until(lambda: storing_has_failed(system, logs_before))
        failed_handler = await until(lambda: newest(system, "payments"))
    undecodable = await park_undecodable_orders(system)
    for dead_letter_id in (failed_handler, undecodable):
        await correct(system, seen, dead_letter_id)
    await set_a_row_aside(system, seen)
    await read_everything(system, seen, [failed_handler, undecodable], order_ids)

    await system.fanout("dlq", "redrive", str(failed_handler), "--why", "the bug is fixed")
    await system.until_status(order_ids[-1], "cancelled")
    await system.fanout("dlq", "discard", "--all", "--why", "a test message")
    await system.settled()
    for file in log_files(system):
        seen.add(f"log {file.name}", file.read_bytes()[logs_before.get(file, 0) :].decode(errors="replace"))
    assert len(seen.places) > 60
    assert not seen.leaks, "\n".join(f"{where}: {text}" for where, text in seen.leaks.items())


async def place_orders_that_are_refused(system: System, seen: Seen) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    changes: list[dict[str, Any]] = [
        {"card_token": f"{TOKEN} {TOKEN}"},
        {"card_token": [TOKEN]},
        {"card_token": {"token": TOKEN}},
        {"payment_method": "invoice"},
        {"lines": []},
        {"lines": [{"product_id": "mug", "quantity": 1, "card_token": TOKEN}]},
        {"currency": "USD"},
    ]
    for change in changes:
        assert seen.answer(await post_order(system, order_body() | change)).status_code == 422
    broken = json.dumps(order_body())[:-1]
    url = f"{system.stack.addresses.apis['orders']}/orders"
    headers = system.as_customer(CUSTOMER_ID) | {"content-type": "application/json"}
    seen.answer(await system.http.post(url, content=broken, headers=headers))
    first = seen.answer(await post_order(system, order_body(), key))
    repeated = seen.answer(await post_order(system, order_body(), key))
    other = seen.answer(await post_order(system, order_body() | {"card_token": "another"}, key))
    assert (first.status_code, repeated.json(), other.status_code) == (201, first.json(), 422)


def order_body() -> dict[str, Any]:
    line = {"product_id": "mug", "quantity": 1}
    return {
        "currency": "EUR",
        "payment_method": "card",
        "card_token": TOKEN,
        "lines": [line],
    }


async def post_order(system: System, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    url = f"{system.stack.addresses.apis['orders']}/orders"
    return await system.http.post(url, json=body, headers=system.as_customer(CUSTOMER_ID) | (headers or {}))


@asynccontextmanager
async def constraint(system: System, service: str, table: str, rule: str) -> AsyncIterator[None]:
    """While it lasts, the service cannot write what breaks the rule."""
    async with system.connect(service) as db:
        await db.execute(f"ALTER TABLE {table} ADD CONSTRAINT bug CHECK ({rule}) NOT VALID")
    try:
        yield
    finally:
        async with system.connect(service) as db:
            await db.execute(f"ALTER TABLE {table} DROP CONSTRAINT bug")


async def storing_has_failed(system: System, before: dict[Path, int]) -> bool:
    file = system.stack.home / "logs" / "dead_letters-worker.log"
    return 'violates check constraint \\"bug\\"' in file.read_bytes()[before[file] :].decode()


async def newest(system: System, consumer: str) -> int | None:
    rows = await system.query(
        "dead_letters",
        "SELECT max(dead_letter_id) AS newest FROM dead_letters WHERE status = 'parked' AND consumer = $1",
        consumer,
    )
    found: int | None = rows[0]["newest"]
    return found


async def park_undecodable_orders(system: System) -> int:
    """Sends OrderPlaced cut off and with bytes left over, behind the token; returns the id of a dead letter."""
    registry = Registry(system.stack.addresses.registry_url)
    schema_id = await registry.schema_id(OrderPlaced, 1)
    await registry.aclose()
    order = sample_events.order_placed(str(uuid4()), card_token=TOKEN)
    whole = frame(schema_id, encode(order))
    producer = Producer({"bootstrap.servers": system.stack.addresses.kafka})
    for value in (whole[:-3], whole + b"more", frame(999_999, whole)):
        named: Any = [("ce_type", "OrderPlaced"), ("ce_id", str(uuid4())), ("x-card-token", TOKEN)]
        producer.produce("orders", value, order.key, headers=named)
    assert producer.flush(20) == 0
    found: int = await until(lambda: newest(system, "fraud"))
    return found


async def correct(system: System, seen: Seen, dead_letter_id: int) -> None:
    """Sends corrections that are refused."""
    url = f"{system.stack.addresses.apis['dead_letters']}/dead-letters/{dead_letter_id}/redrive"
    document = sample_events.order_placed("another", card_token=TOKEN).to_record()
    for change in (
        {"total_cents": TOKEN},
        {"card_token": [TOKEN]},
        {"payment_method": TOKEN},
        {"occurred_at": -1},
    ):
        answer = await system.http.post(url, json=WHY | {"correction": document | change})
        assert seen.answer(answer).status_code == 422
        done = await asyncio.to_thread(
            system.stack.fanout,
            *(
                "dlq",
                "redrive",
                str(dead_letter_id),
                "--why",
                "x",
                "--correct",
                json.dumps(document | change),
            ),
        )
        assert done.returncode == 2
        seen.add("fanout dlq redrive, refused", done.stdout + done.stderr)


async def set_a_row_aside(system: System, seen: Seen) -> None:
    """Writes an outbox row that cannot be sent, and reads and discards it with the tool."""
    order = sample_events.order_placed(str(uuid4()), card_token=TOKEN)
    headers = json.dumps([("ce_type", "OrderPlaced"), ("card_token", TOKEN)])
    async with system.connect("orders") as db:
        row_id = await db.fetchval(
            "INSERT INTO outbox (event_id, topic, key, payload, headers) VALUES ($1, 'no-such-topic', $2, $3, $4)"
            " RETURNING id",
            *(uuid4(), order.key.encode(), encode(order), headers),
        )

    async def set_aside() -> bool:
        return bool(
            await system.query(
                "orders", "SELECT 1 FROM outbox WHERE id = $1 AND set_aside_at IS NOT NULL", row_id
            )
        )

    await until(set_aside)
    for command in (
        ("ls",),
        ("ls", "--json"),
        ("show", "orders", str(row_id)),
        ("show", "orders", str(row_id), "--json"),
    ):
        seen.add(f"fanout outbox {' '.join(command)}", await system.fanout("outbox", *command))
    await system.fanout("outbox", "discard", "orders", str(row_id), "--why", "a test message")


async def read_everything(
    system: System, seen: Seen, dead_letter_ids: list[int], order_ids: list[str]
) -> None:
    apis = system.stack.addresses.apis
    for url in [*urls(apis, dead_letter_ids, order_ids), *health_urls(system)]:
        seen.answer(await system.http.get(url))
    commands: list[tuple[str, ...]] = [("dlq", "ls"), ("dlq", "ls", "--json"), ("lag",), ("status",)]
    for dead_letter_id in map(str, dead_letter_ids):
        commands += [("dlq", "show", dead_letter_id), ("dlq", "show", dead_letter_id, "--json")]
    for order_id in (order_ids[0], order_ids[-1]):
        commands += [("order", order_id), ("order", order_id, "--json")]
        commands += [("order", order_id, "--tree"), ("order", order_id, "--tree", "--json")]
        commands += [("tail", "--order", order_id, "--from-beginning", "--headers", "-n", "1")]
    commands += [("tail", name, "--from-beginning", "--headers", "--json", "-n", "3") for name in PARKED_IN]
    commands += [("sql", service, f"select * from {table}") for service, table in WITH_TOKENS]
    commands += [
        ("sql", service, f"select t::text from {table} t", "--json") for service, table in WITH_TOKENS
    ]
    commands += [("mailbox", "--ids"), ("logs", "-n", "100000")]
    for command in commands:
        seen.add(f"fanout {' '.join(command)}", await system.fanout(*command))


def urls(apis: dict[str, str], dead_letter_ids: list[int], order_ids: list[str]) -> Iterator[str]:
    for order_id in order_ids:
        yield f"{apis['orders']}/orders/{order_id}"
        yield f"{apis['payments']}/payments/{order_id}"
    yield from (f"{apis['orders']}/orders?limit=200", f"{apis['orders']}/orders?card_token={TOKEN}")
    yield from (f"{apis['analytics']}/sales", f"{apis['analytics']}/funnel")
    yield f"{apis['dead_letters']}/dead-letters?limit=200"
    yield from (f"{apis['dead_letters']}/dead-letters/{dead_letter_id}" for dead_letter_id in dead_letter_ids)
    yield from (f"{api}/openapi.json" for api in apis.values())


def health_urls(system: System) -> Iterator[str]:
    for url in (*system.stack.addresses.apis.values(), *system.stack.addresses.workers.values()):
        yield from (f"{url}/health/ready", f"{url}/metrics")


def log_files(system: System) -> list[Path]:
    assert REPOSITORY not in system.stack.home.parents
    return [*sorted(system.stack.home.glob("logs/*")), *sorted(system.stack.home.glob("*.log"))]
