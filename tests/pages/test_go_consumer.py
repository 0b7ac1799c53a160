"""The consumer in examples/go-consumer: built, killed, given everything twice, and given what cannot be read."""

import asyncio
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka import TopicPartition as Offset
from confluent_kafka.admin import AdminClient

from chassis.events.avro import encode, frame
from chassis.events.registry import Registry
from fanout.kafka_admin import committed
from schemas import Event, OrderConfirmed, OrderPlaced
from tests.support import sample_events
from tests.support.pages import does_what_it_shows, steps_of
from tests.support.poison_messages import IMPOSSIBLE_ID, Headers
from tests.support.stack import REPOSITORY, Stack
from tests.support.system import System, until

FOLDER = REPOSITORY / "examples/go-consumer"
GROUP, TOPIC, PARTITIONS = "go-totals", "orders", 6
CUSTOMERS, ORDERS = 8, 96
PATIENCE_SECONDS = 30
WAITS = """
    SELECT count(*) > 0 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%INTO customer_totals%'
"""
COUNT_PARKED = "SELECT count(*) FROM parked"
PARKED = """
    SELECT convert_from(headers[4], 'UTF8'), value, reason FROM parked WHERE headers[4] = ANY($1)
    ORDER BY partition, "offset"
"""
NO_NETWORK = ("dial tcp", "no such host", "i/o timeout", "connection refused", "network is unreachable")
TOTALS = """
    SELECT customer_id, currency, orders::int, total_cents::bigint FROM customer_totals
    WHERE customer_id = ANY($1) ORDER BY 1, 2
"""
ORDERED = """
    SELECT customer_id, currency, count(*)::int AS orders, sum(total_cents)::bigint AS total_cents FROM orders
    WHERE customer_id = ANY($1) GROUP BY 1, 2 ORDER BY 1, 2
"""


@dataclass
class GoConsumer:
    """The program, on the stack of the tests, with the database that its README makes."""

    program: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *flags: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [self.program, *flags],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.started.append(process)
        return process

    async def catch_up(self) -> str:
        """Runs it until it has applied what is in the topic now; returns what it prints."""
        process = self.start("-once")
        printed, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, printed
        return printed

    async def query(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        connection = await self.connect()
        try:
            return [tuple(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def connect(self) -> asyncpg.Connection:
        patient = {"idle_in_transaction_session_timeout": "60s"}
        return await asyncpg.connect(self.environment["DATABASE_URL"], timeout=5, server_settings=patient)

    def kill(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds it, once."""
    if not shutil.which("go"):
        pytest.skip("examples/go-consumer is not tested: go is not installed")
    built = tmp_path_factory.mktemp("go") / "go-consumer"
    done = go("build", "-o", str(built), ".")
    if done.returncode != 0 and any(words in done.stderr for words in NO_NETWORK):
        pytest.skip("examples/go-consumer is not tested: its modules cannot be fetched without a network")
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture
def consumer(program: Path, stack: Stack) -> Iterator[GoConsumer]:
    environment = addresses(stack)
    url = stack.python(str(FOLDER / "make_database.py"))
    assert url.returncode == 0, url.stderr
    made = GoConsumer(program, environment | {"DATABASE_URL": url.stdout.strip()})
    try:
        yield made
    finally:
        made.kill()
        remove(stack)


@pytest.mark.usefixtures("program")
def test_its_page_does_what_it_shows(stack: Stack) -> None:
    steps = steps_of(FOLDER / "README.md")
    try:
        does_what_it_shows(steps, REPOSITORY, addresses(stack) | {"COLUMNS": "120"}, seconds=100)
    finally:
        remove(stack)


@pytest.mark.usefixtures("program")
def test_its_source_is_formatted_and_its_own_tests_pass() -> None:
    formatted = subprocess.run(["gofmt", "-l", "."], cwd=FOLDER, capture_output=True, text=True, check=True)
    assert formatted.stdout == ""
    for command in (("vet", "."), ("mod", "verify"), ("test", ".")):
        done = go(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_its_contract_is_a_published_one() -> None:
    copy, published = FOLDER / "order_placed_v1.avsc", REPOSITORY / "schemas/order_placed/v1.avsc"
    assert copy.read_bytes() == published.read_bytes()


async def test_killed_in_a_transaction_and_given_everything_again_it_has_each_order_once(
    system: System, consumer: GoConsumer
) -> None:
    await consumer.catch_up()
    customers = [f"go-{uuid4().hex[:8]}" for _ in range(CUSTOMERS)]
    await place(system, customers)
    await system.settled()
    expected = [tuple(row) for row in await system.query("orders", ORDERED, customers)]
    assert sum(orders for _, _, orders, _ in expected) == ORDERS

    await kill_in_a_transaction(consumer)
    assert await consumer.query(TOTALS, customers) == []
    lag = await lag_of_the_group(system)
    assert lag["messages"] >= ORDERS and lag["seconds"] > 0 and lag["outside"]

    await consumer.catch_up()
    assert await consumer.query(TOTALS, customers) == expected
    assert await has_caught_up(system)

    written = frame(
        await schema_id(system, OrderPlaced),
        encode(sample_events.order_placed("aborted", customer_id=customers[0])),
    )
    await asyncio.to_thread(send_and_abort, system.stack.addresses.kafka, written)
    ends, parked = committed(admin(system), GROUP), await consumer.query(COUNT_PARKED)
    reset_to_earliest(admin(system))
    await consumer.catch_up()
    again = committed(admin(system), GROUP)
    assert all(again[partition] >= end for partition, end in ends.items())
    assert await consumer.query(TOTALS, customers) == expected
    assert await consumer.query(COUNT_PARKED) == parked


async def test_what_cannot_be_applied_is_parked_and_what_is_behind_it_is_applied(
    system: System, consumer: GoConsumer
) -> None:
    await consumer.catch_up()
    unreadable = await send_unreadable(system)
    customers = [f"go-{uuid4().hex[:8]}"]
    process = consumer.start()
    await place(system, customers, 12)
    expected = [tuple(row) for row in await system.query("orders", ORDERED, customers)]
    await until(partial(answers, consumer, TOTALS, expected, customers), PATIENCE_SECONDS)
    await system.settled()
    await until(partial(has_caught_up, system), PATIENCE_SECONDS)

    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0 and "drained" in printed
    rows = await consumer.query(PARKED, [event_id.encode() for event_id in unreadable])
    assert len(rows) == len(unreadable) * PARTITIONS
    for event_id, value, why in rows:
        sent, reason = unreadable[event_id]
        assert value == sent and reason in why

    reset_to_earliest(admin(system))
    await consumer.catch_up()
    assert await consumer.query(PARKED, [event_id.encode() for event_id in unreadable]) == rows
    assert await consumer.query(TOTALS, customers) == expected


async def test_without_a_registry_it_waits_and_parks_nothing(system: System, consumer: GoConsumer) -> None:
    customers = [f"go-{uuid4().hex[:8]}"]
    await place(system, customers, 5)
    expected = [tuple(row) for row in await system.query("orders", ORDERED, customers)]
    process = consumer.start("-registry", "http://127.0.0.1:9")
    await until(partial(logs, process, "waiting"), PATIENCE_SECONDS)
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.communicate, timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert await consumer.query(COUNT_PARKED) == [(0,)]
    assert not committed(admin(system), GROUP)

    await consumer.catch_up()
    assert await consumer.query(TOTALS, customers) == expected


async def kill_in_a_transaction(consumer: GoConsumer) -> None:
    """Kills it while its transaction, with events claimed, waits for a table that the test has locked."""
    connection = await consumer.connect()
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE customer_totals IN EXCLUSIVE MODE")
            process = consumer.start("-batch", "20")
            await until(partial(answers, consumer, WAITS, [(True,)]), PATIENCE_SECONDS)
            process.kill()
            await asyncio.to_thread(process.communicate, timeout=PATIENCE_SECONDS)
    finally:
        await connection.close()


async def logs(process: subprocess.Popen[str], word: str) -> bool:
    """Reads the next line of the program's log."""
    assert process.stdout
    return word in await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), PATIENCE_SECONDS)


async def answers(consumer: GoConsumer, sql: str, rows: list[tuple[Any, ...]], *arguments: Any) -> bool:
    return await consumer.query(sql, *arguments) == rows


async def place(system: System, customers: list[str], count: int = ORDERS) -> None:
    """Places orders of one to three mugs, ten at once, and waits until they are in Kafka."""
    for first in range(0, count, 10):
        numbers = range(first, min(first + 10, count))
        chosen = [(customers[n % len(customers)], n % 3 + 1) for n in numbers]
        await asyncio.gather(*(system.order(quantity=many, customer_id=who) for who, many in chosen))
    await until(partial(all_sent, system), PATIENCE_SECONDS)


async def all_sent(system: System) -> bool:
    return not await system.query(
        "orders", "SELECT 1 FROM outbox WHERE published_at IS NULL AND discarded_at IS NULL"
    )


async def send_unreadable(system: System) -> dict[str, tuple[bytes, str]]:
    """Sends four kinds to every partition; returns by event id what was sent, and what the reason must say."""
    placed_id, another_id = await schema_id(system, OrderPlaced), await schema_id(system, OrderConfirmed)
    good = encode(sample_events.order_placed(IMPOSSIBLE_ID))
    refused = encode(sample_events.order_placed(IMPOSSIBLE_ID, customer_id="\x00"))
    unreadable = {
        str(uuid4()): (frame(placed_id, good[: len(good) // 2]), "not OrderPlaced"),
        str(uuid4()): (frame(another_id, good), 'of "OrderConfirmed"'),
        str(uuid4()): (frame(999_999, good), "no schema has the id 999999"),
        str(uuid4()): (frame(placed_id, refused), "the database refuses it"),
    }
    await asyncio.to_thread(send, system.stack.addresses.kafka, unreadable)
    return unreadable


async def schema_id(system: System, event_type: type[Event]) -> int:
    registry = Registry(system.stack.addresses.registry_url)
    try:
        return await registry.schema_id(event_type, 1)
    finally:
        await registry.aclose()


def send(kafka: str, values: Mapping[str, tuple[bytes, str]]) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    failed: list[str] = []
    for event_id, (value, _) in values.items():
        for partition in range(PARTITIONS):
            producer.produce(
                TOPIC,
                value,
                IMPOSSIBLE_ID.encode(),
                partition=partition,
                headers=[("ce_type", "OrderPlaced"), ("ce_id", event_id)],
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
    assert producer.flush(20) == 0 and not failed


def send_and_abort(kafka: str, value: bytes) -> None:
    """Leaves an order and the marker of its aborted transaction at the end of every partition."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"go-{uuid4().hex}"})
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(PARTITIONS):
        named: Headers = [("ce_type", "OrderPlaced"), ("ce_id", str(uuid4()))]
        producer.produce(TOPIC, value, b"aborted", partition=partition, headers=named)
    producer.flush()
    producer.abort_transaction()


async def lag_of_the_group(system: System) -> dict[str, Any]:
    lag = json.loads(await system.fanout("lag", "--json"))
    [row] = [row for row in lag["groups"] if row["group"] == GROUP]
    assert row["topic"] == TOPIC
    return dict(row)


async def has_caught_up(system: System) -> bool:
    return bool((await lag_of_the_group(system))["messages"] == 0)


def admin(system: System) -> AdminClient:
    return AdminClient({"bootstrap.servers": system.stack.addresses.kafka})


def reset_to_earliest(admin: AdminClient) -> None:
    offsets = [Offset(TOPIC, partition, 0) for partition in range(PARTITIONS)]
    request = ConsumerGroupTopicPartitions(GROUP, offsets)
    admin.alter_consumer_group_offsets([request])[GROUP].result(timeout=10)


def addresses(stack: Stack) -> dict[str, str]:
    """Returns the environment in which program and page find the stack of the tests instead of the usual one."""
    found = {"KAFKA_BROKERS": stack.addresses.kafka, "REGISTRY_URL": stack.addresses.registry_url}
    return stack.environment | found


def remove(stack: Stack) -> None:
    """Removes database, login and group; a killed process is a member for six more seconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (done := stack.python(str(FOLDER / "make_database.py"), "--drop")).returncode != 0:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.5)


def go(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["go", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
