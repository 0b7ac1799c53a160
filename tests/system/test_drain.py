"""SIGTERM under load: a worker finishes its batches and leaves its group, which does not wait for it."""

import asyncio
import json
from datetime import datetime

import pytest
from confluent_kafka.admin import AdminClient

from tests.support.system import System, until

FRESH = "SELECT 1 FROM inbox WHERE received_at > clock_timestamp() - interval '500 ms'"


@pytest.mark.parametrize("service", ["orders", "fraud"])
async def test_sigterm_under_load_drains_within_ten_seconds_and_leaves_the_group(
    system: System, service: str
) -> None:
    load = asyncio.create_task(system.load(150, 30))
    await until(lambda: system.query(service, FRESH))
    await system.fanout("stop", f"{service}-worker")
    assert await asyncio.to_thread(members, system, service) == []
    await system.fanout("start", f"{service}-worker")
    assert (await load).complete
    await system.settled()
    log = await logged(system, service)
    assert seconds(log, "draining", "worker_drained") < 10
    assert seconds(log, "worker_started", "partitions_assigned") < 5, (
        "the group still waited for the old member"
    )


def members(system: System, group: str) -> list[str]:
    """Returns the ids of the group's members; one that did not leave stays until its session expires."""
    admin = AdminClient({"bootstrap.servers": system.stack.addresses.kafka})
    described = admin.describe_consumer_groups([group])[group].result(timeout=10)
    return [member.member_id for member in described.members]


async def logged(system: System, service: str) -> dict[str, datetime]:
    """Returns by log event when it was last written."""
    text = await system.fanout("logs", f"{service}-worker", "-n", "2000")
    lines = [json.loads(line[line.index("{") :]) for line in text.splitlines() if '"timestamp"' in line]
    return {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in lines}


def seconds(log: dict[str, datetime], first: str, then: str) -> float:
    passed = (log[then] - log[first]).total_seconds()
    assert passed > 0, f"{then} was not logged after {first}"
    return passed
