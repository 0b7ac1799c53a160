"""A read model is not emptied when Kafka holds less than the outboxes have published."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from chassis.service import load
from fanout.errors import BadUsage
from fanout.replay.history import require_history_in_kafka
from fanout.replay.plan import Plan
from tests.integration.conftest import Broken
from tests.support.simulated_system import SimulatedSystem, url_of

TOPICS = ("orders", "payments", "shipments")
OLD, NEW = UUID(int=1), UUID(int=2)


async def refusal(
    simulated: SimulatedSystem, ends: Mapping[str, int], since: datetime | None = None, **ids: UUID
) -> str:
    plan = Plan({(topic, 0): 0 for topic in ends}, {(topic, 0): end for topic, end in ends.items()}, since)
    databases = {name: url_of(database) for name, database in simulated.databases.items()}
    at = datetime.now(UTC) + timedelta(seconds=1)
    try:
        await require_history_in_kafka(databases, load("analytics"), plan, ids, at)
    except BadUsage as error:
        return str(error)
    return ""


@pytest.fixture
async def simulated(copied: Broken) -> SimulatedSystem:
    return await copied("orders", "payments")


def whole(simulated: SimulatedSystem) -> dict[str, int]:
    return {topic: simulated.offsets[topic] for topic in TOPICS}


async def count(simulated: SimulatedSystem, service: str, condition: str) -> Any:
    [[found]] = await simulated.run(service, f"SELECT count(*) FROM outbox WHERE {condition}")
    return found


async def test_a_history_that_kafka_has_whole_is_no_reason(simulated: SimulatedSystem) -> None:
    assert await refusal(simulated, whole(simulated)) == ""


async def test_a_topic_that_begins_anew_is_named_with_the_number_and_the_command(
    simulated: SimulatedSystem,
) -> None:
    placed = await count(simulated, "orders", "topic = 'orders'")
    said = await refusal(simulated, whole(simulated) | {"orders": 0})
    assert said.startswith(f"Kafka no longer has {placed} of ")
    assert "fanout resend --topic orders --since 20" in said and "--topic payments" not in said


async def test_events_of_an_earlier_topic_are_missed_although_their_offsets_are_there(
    simulated: SimulatedSystem,
) -> None:
    types = "type = 'PaymentProcessed'"
    await simulated.run("payments", f"UPDATE outbox SET topic_id = '{OLD}' WHERE {types}")
    assert await refusal(simulated, whole(simulated), payments=OLD) == ""
    said = await refusal(simulated, whole(simulated), payments=NEW)
    assert said.startswith(f"Kafka no longer has {await count(simulated, 'payments', types)} of ")


async def test_what_is_not_asked_for_is_not_missed(simulated: SimulatedSystem) -> None:
    nothing = dict.fromkeys(TOPICS, 0)
    assert await refusal(simulated, nothing)
    assert await refusal(simulated, nothing, since=datetime.now(UTC)) == ""
