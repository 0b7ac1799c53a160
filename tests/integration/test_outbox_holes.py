"""Where Kafka has offsets of which the outbox has no row: only there `fanout recover` and the doctor read."""

from collections.abc import Sequence
from uuid import UUID

import pytest

from chassis.database import Database
from fanout.recover.holes import Hole, holes, read_in_one_go
from tests.integration.conftest import NewDatabase
from tests.support.running_relay import fetch
from tests.support.simulated_system import url_of

OURS, OLDER = UUID(int=2), UUID(int=1)
ROW = """
    INSERT INTO outbox (event_id, topic, headers, published_at, kafka_partition, kafka_offset, topic_id)
    VALUES (gen_random_uuid(), '{topic}', '[]', now(), {partition}, {offset}, {topic_id}) RETURNING 1
"""


@pytest.fixture
async def database(new_database: NewDatabase) -> Database:
    """Has the offsets 3, 4 and 7 of partition 0."""
    database = await new_database("payments")
    for offset in (3, 4, 7):
        await sent(database, offset)
    return database


async def sent(
    database: Database, offset: int, topic: str = "payments", topic_id: UUID | None = OURS
) -> None:
    known = "NULL" if topic_id is None else f"'{topic_id}'"
    await fetch(database, ROW.format(topic=topic, partition=0, offset=offset, topic_id=known))


async def found(database: Database, *spans: Hole) -> Sequence[Hole]:
    return await holes("payments", url_of(database), "payments", OURS, spans)


async def test_offsets_before_between_and_behind_the_known_ones_are_holes(database: Database) -> None:
    assert await found(database, Hole(0, 2, 10)) == [Hole(0, 2, 3), Hole(0, 5, 7), Hole(0, 8, 10)]


async def test_what_kafka_does_not_have_is_no_hole(database: Database) -> None:
    assert await found(database, Hole(0, 3, 5)) == []
    assert await found(database, Hole(0, 4, 8)) == [Hole(0, 5, 7)]


async def test_a_partition_without_rows_is_one_hole_and_an_empty_one_none(database: Database) -> None:
    assert await found(database, Hole(1, 0, 4), Hole(2, 0, 0)) == [Hole(1, 0, 4)]


async def test_rows_of_another_topic_or_of_an_older_one_of_that_name_fill_no_hole(database: Database) -> None:
    await sent(database, 5, topic="orders")
    await sent(database, 6, topic_id=OLDER)
    assert await found(database, Hole(0, 3, 8)) == [Hole(0, 5, 7)]
    await sent(database, 5, topic_id=None)
    assert await found(database, Hole(0, 3, 8)) == [Hole(0, 6, 7)], "an earlier release knew no topic ids"


def test_near_holes_are_read_in_one_go_and_distant_ones_in_turn() -> None:
    far = [Hole(0, 0, 1), Hole(0, 5, 6), Hole(0, 50_000, 50_001), Hole(1, 7, 9)]
    assert list(read_in_one_go(far)) == [
        {0: Hole(0, 0, 6), 1: Hole(1, 7, 9)},
        {0: Hole(0, 50_000, 50_001)},
    ]
