"""Counts what faults really did to the system: a run in which nothing bit proves nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from confluent_kafka import TopicPartition
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import read_each
from fanout.kafka_admin import ANSWER_SECONDS
from fanout.kafka_reader import reader
from fanout.local.stack_directory import StackDirectory, current
from fanout.running import Addresses

REBALANCED = '"event":"partitions_assigned"'


@dataclass(frozen=True, slots=True)
class Counters:
    """What the system has counted so far, in its databases, in Kafka and in the logs of its processes."""

    redelivered: int
    rebalances: int
    starts: int
    records: int
    sent_rows: int
    """Rows of all outboxes that Kafka confirmed; every record of a topic comes from one, or is a repetition."""
    parked: int
    redriven: int

    def since(self, before: "Counters") -> "Counters":
        return Counters(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(Counters)))


@dataclass(frozen=True, slots=True)
class Bites:
    redeliveries: int
    rebalances: int
    unknown_answers: int
    resent_by_relays: int
    restarts: int
    parked: int
    redriven: int

    @property
    def is_valid(self) -> bool:
        return bool(self.redeliveries or self.rebalances or self.unknown_answers)


def bites(before: Counters, after: Counters, unknown_answers: int, duplicated: int) -> Bites:
    """`duplicated` records were sent again by faults, and not by a relay."""
    now = after.since(before)
    return Bites(
        redeliveries=now.redelivered,
        rebalances=now.rebalances,
        unknown_answers=unknown_answers,
        resent_by_relays=max(now.records - now.sent_rows - duplicated, 0),
        restarts=now.starts,
        parked=now.parked,
        redriven=now.redriven,
    )


async def counters(addresses: Addresses) -> Counters:
    """Returns the counters of the local stack; events in flight make them inexact, so ask when nothing is."""
    from fanout.local.supervisor import starts

    found = await read_each(addresses.databases, _of_database)
    total: Mapping[str, int] = {
        name: sum(row[name] for row in found) for name in ("redelivered", "sent_rows", "parked", "redriven")
    }
    return Counters(
        **total,
        rebalances=_rebalances(current()),
        starts=starts(current()).total(),
        records=_records(addresses),
    )


async def _of_database(service: str, db: AsyncConnection) -> Mapping[str, Any]:
    row = (await db.execute(_COUNTERS)).one()._asdict()
    redriven = (await db.execute(_REDRIVEN)).scalar_one() if service == "dead_letters" else 0
    return {**row, "redriven": redriven}


def _rebalances(directory: StackDirectory) -> int:
    """Counts how often a worker was assigned partitions, from what the workers logged."""
    return sum(
        REBALANCED in line
        for file in directory.logs.glob("*-worker*.log*")
        for line in file.read_text(errors="replace").splitlines()
    )


def _records(addresses: Addresses) -> int:
    """Counts the records that were ever in Kafka, from the ends of all partitions."""
    with reader(addresses.broker) as consumer:
        topics = consumer.list_topics(timeout=ANSWER_SECONDS).topics
        places = [
            TopicPartition(name, number)
            for name, topic in topics.items()
            if not name.startswith("_")
            for number in topic.partitions
        ]
        return sum(consumer.get_watermark_offsets(place, ANSWER_SECONDS)[1] for place in places)


_COUNTERS = text("""
    SELECT (SELECT coalesce(sum(duplicates), 0)::int FROM consumer_offsets) AS redelivered,
        (SELECT count(*) FROM outbox WHERE kafka_offset IS NOT NULL) AS sent_rows,
        (SELECT count(*) FROM parked) AS parked
""")
_REDRIVEN = text("SELECT count(*) FROM actions WHERE what = 'redriven'")
