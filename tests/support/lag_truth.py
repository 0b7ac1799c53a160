"""How far behind each group really is: every record of its topics, compared with the receipts in its own database.

It shares nothing with `fanout lag`, which looks at offsets: a record is processed if the inbox has its event id.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
from confluent_kafka import Consumer, KafkaError, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from tests.support.system import System

Place = tuple[str, str, int]
"""Group, topic and partition."""


@dataclass(frozen=True)
class SeenRecord:
    offset: int
    type: str
    event_id: UUID | None
    since: float
    """When its event was made; in redrive topics when Kafka appended it."""


@dataclass(frozen=True)
class Truth:
    """Unix times. `wanted`: of the oldest record that the group wants and has no receipt of. `first`: of the first
    record after the last one with a receipt, wanted or not. None if there is none."""

    wanted: float | None
    first: float | None


async def truth(system: System) -> dict[Place, Truth]:
    """Returns it for each group and partition of the topics of its events, and of their redrive topics."""
    found = {}
    for service in system.stack.addresses.databases:
        subscribed = await system.query(service, "SELECT type, topic FROM subscriptions")
        types: dict[str, set[str]] = defaultdict(set)
        for row in subscribed:
            types[row["topic"]].add(row["type"])
            types[f"{row['topic']}.{service}.retry"].add(row["type"])
        receipts = {
            row["event_id"]: row["status"]
            for row in await system.query(service, "SELECT event_id, status FROM inbox")
        }
        for (topic, partition), records in read(system.stack.addresses.kafka, types).items():
            enough = {"applied"} if topic.endswith(".retry") else {"applied", "parked"}
            done = [each.offset for each in records if receipts.get(each.event_id) in enough]
            rest = [each for each in records if each.offset > max(done, default=-1)]
            wanted = [
                each.since
                for each in records
                if each.type in types[topic] and receipts.get(each.event_id) not in enough
            ]
            found[service, topic, partition] = Truth(
                min(wanted, default=None), min((each.since for each in rest), default=None)
            )
    return found


def read(kafka: str, topics: Mapping[str, object]) -> dict[tuple[str, int], list[SeenRecord]]:
    """Returns every record of these topics."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "truth",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    try:
        known = consumer.list_topics(timeout=10).topics
        places = [(topic, number) for topic in topics for number in known[topic].partitions]
        consumer.assign([TopicPartition(*place, 0) for place in places])
        found: dict[tuple[str, int], list[SeenRecord]] = {place: [] for place in places}
        open_places, deadline = set(places), time.monotonic() + 20
        while open_places:
            assert time.monotonic() < deadline, f"{open_places} cannot be read to the end"
            if (message := consumer.poll(1.0)) is None:
                continue
            place = message.topic() or "", message.partition() or 0
            if error := message.error():
                assert error.code() == KafkaError._PARTITION_EOF, error
                open_places.discard(place)
                continue
            sent = dict(message.headers() or []).items()
            headers = {name: str(value, "utf-8") for name, value in sent if isinstance(value, bytes)}
            appended = message.timestamp()[1] / 1000
            made = datetime.fromisoformat(headers["ce_time"]).timestamp()
            since = appended if place[0].endswith(".retry") else made
            event_id = UUID(headers["ce_id"])
            found[place].append(SeenRecord(message.offset() or 0, headers["ce_type"], event_id, since))
        return found
    finally:
        consumer.close()


async def reported(
    http: httpx.AsyncClient, url: str, name: str = "kafka_consumergroup_group_lag_seconds"
) -> dict[Place, float]:
    """Returns a metric of partitions, as the exporter says it now."""
    answer = await http.get(f"{url}/metrics")
    return {
        (sample.labels["group"], sample.labels["topic"], int(sample.labels["partition"])): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name
    }
