"""`fanout verify --deep` on the running stack: what differs between the topics and the outboxes is named."""

import json
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Producer

from tests.support.system import System

PAYLOAD = "every record in Kafka has the payload of its outbox row"
OFFSET = "every row that was sent is in Kafka at its offset"
KNOWN = "every event in Kafka is in an outbox"
ORDER = "in Kafka the versions of an aggregate rise"

ROW = "SELECT * FROM outbox WHERE aggregate_id = $1 AND type = 'OrderPlaced'"
CHANGES = {
    PAYLOAD: "UPDATE outbox SET payload = set_byte(payload, 40, (get_byte(payload, 40) + 1) % 256) WHERE id = $1",
    OFFSET: "UPDATE outbox SET kafka_offset = kafka_offset + 100000 WHERE id = $1",
    KNOWN: "DELETE FROM outbox WHERE id = $1",
    ORDER: "UPDATE outbox SET aggregate_version = aggregate_version + 100 WHERE id = $1",
}


async def looked_at_deeply(system: System) -> dict[str, Any]:
    """Returns the verdict's JSON, whatever it says."""
    done = system.stack.fanout("verify", "--deep", "--json")
    assert done.returncode in (0, 1, 3), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def offenders(found: dict[str, Any]) -> dict[str, list[str]]:
    return {check["check"]: check["offenders"] for check in found["checks"] if check["offenders"]}


def named(found: dict[str, Any], order: str) -> set[str]:
    """Returns the checks that name the order. Other tests have sent messages to the same topics that no outbox has."""
    return {check for check, named in offenders(found).items() if any(order in each for each in named)}


async def test_each_change_of_an_outbox_is_named_by_what_the_topic_says(system: System) -> None:
    order = await system.order()
    await system.until_status(order, "shipped")
    await system.settled()
    before = await looked_at_deeply(system)
    assert named(before, order) == set()
    assert before["topics"]["compared"] > 0 and before["topics"]["records"] >= before["topics"]["compared"]
    async with system.connect("orders") as db:
        for sentence, change in CHANGES.items():
            row = await db.fetchrow(ROW, order)
            await db.execute(change, row["id"])
            try:
                found = await looked_at_deeply(system)
            finally:
                await restore(db, row)
            assert sentence in named(found, order)
            assert found["verdict"] == "broken"
    assert named(await looked_at_deeply(system), order) == set()


async def restore(db: asyncpg.Connection, row: asyncpg.Record) -> None:
    columns = ", ".join(row.keys())
    values = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    async with db.transaction():
        await db.execute("DELETE FROM outbox WHERE id = $1", row["id"])
        await db.execute(
            f"INSERT INTO outbox ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values})", *row.values()
        )


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_record_that_no_outbox_has_is_named_if_it_is_an_event_of_this_system(
    system: System, is_ours: bool
) -> None:
    """An event as a database leaves it in Kafka that was restored from an older backup; and one that is sent twice."""
    order = await system.order()
    await system.until_status(order, "shipped")
    await system.settled()
    async with system.connect("fraud") as db:
        row = await db.fetchrow("SELECT * FROM outbox WHERE aggregate_id = $1", order)
        before = await looked_at_deeply(system)
        try:
            if is_ours:
                await db.execute("DELETE FROM outbox WHERE id = $1", row["id"])
            else:
                producer = Producer({"bootstrap.servers": system.stack.addresses.kafka})
                producer.produce("fraud", b"no event", key=order.encode(), headers=[("ce_id", b"?")])
                assert producer.flush(10) == 0
            found = await looked_at_deeply(system)
        finally:
            if is_ours:
                await restore(db, row)
    unknown = [each for each in offenders(found).get(KNOWN, []) if order in each]
    assert len(unknown) == is_ours
    if is_ours:
        assert unknown[0].startswith(f"FraudAssessed of {order} (event {row['event_id']}) in fraud[")
    else:
        assert found["topics"]["strange"] == before["topics"]["strange"] + 1
