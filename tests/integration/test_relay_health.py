"""The relay is part of its worker's health and metrics: unsent rows, rows set aside, and readiness."""

import pytest
from prometheus_client import REGISTRY

from chassis.config import Broker
from chassis.database import Database
from chassis.outbox import relay_health, terms, upkeep
from chassis.outbox.forward import Message
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import Topics, kafka_topics, running, until, write

__all__ = ["kafka_topics"]


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    return await new_database("fraud")


def metric(name: str) -> float:
    return REGISTRY.get_sample_value(f"fanout_{name}", {"service": "fraud"}) or 0.0


async def test_the_active_relay_measures_its_outbox(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "RENEW_SECONDS", 0.0)
    topic = kafka_topics.new()
    rows = [Message(topic, b"k", value, []) for value in (bytes(3 * 2**20), b"waits", b"waits")]
    await write(database, rows)

    async def is_measured() -> bool:
        figures = [metric("relay_active"), metric("outbox_unsent"), metric("outbox_set_aside")]
        return figures == [1, 2, 1] and metric("outbox_oldest_unsent_seconds") > 0

    async with running(database, kafka_topics) as sender:
        await until(is_measured)
        assert sender.health.status == {"active": True, "unsent": 2, "set_aside": 1}
    assert metric("relay_active") == metric("outbox_unsent") == 0


async def test_a_relay_that_cannot_send_is_not_ready_and_reports_why(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_health, "NOT_READY_SECONDS", 0.5)
    monkeypatch.setattr("chassis.outbox.producer.CONFIG", {"delivery.timeout.ms": 1_000, "linger.ms": 5})
    kafka_topics.broker = Broker("127.0.0.1:1")
    await write(database, [Message("somewhere", b"k", b"v", [])])
    async with running(database, kafka_topics) as sender:

        async def is_unready() -> bool:
            return not sender.health.is_ready and "topic somewhere" in sender.health.status.get("failure", "")

        await until(is_unready)
        assert sender.health.is_alive, "it tries again and again"


async def test_a_relay_on_standby_is_ready_as_long_as_it_can_take_over(
    database: Database, kafka_topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_health, "NOT_READY_SECONDS", 2.0)
    async with running(database, kafka_topics) as one, running(database, kafka_topics) as other:

        async def is_settled() -> bool:
            return one.health.is_active != other.health.is_active

        await until(is_settled)
        assert one.health.is_ready and other.health.is_ready
        monkeypatch.setattr(terms, "LATEST_TERM", "SELECT no_such_column")
        standby = other if one.health.is_active else one

        async def is_unready() -> bool:
            return not standby.health.is_ready

        await until(is_unready)
