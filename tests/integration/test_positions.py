"""Where partitions are opened, as the database remembers it; Kafka's answers are given."""

from uuid import UUID

import pytest
from sqlalchemy import insert, text

from chassis.config import Broker
from chassis.consumer.crash_loop import crash_markers
from chassis.consumer.ignored import ignored_events
from chassis.consumer.offsets import BatchCounts, DatabaseRestored, Offsets, consumer_offsets
from chassis.consumer.opening import Opening
from chassis.consumer.positions import Overtaken, Positions
from chassis.database import Database
from chassis.events.kafka_topics import KafkaTopics, PartitionLog
from chassis.timestamps import now
from tests.support.recording_service import rows

FIRST, SECOND = ("orders", 0), ("orders", 1)
OLD, NEW = UUID(int=1), UUID(int=2)


@pytest.fixture
def positions(database: Database) -> Positions:
    return Positions("fraud", database, [], KafkaTopics(Broker("")))


async def stored(database: Database) -> dict[int, tuple[int, int]]:
    """Returns offset and lost messages by partition."""
    return {row.partition: (row.next_offset, row.lost) for row in await rows(database, consumer_offsets)}


async def test_the_second_member_of_a_new_consumer_loses_nothing_of_what_was_deleted_before(
    positions: Positions, database: Database
) -> None:
    logs = {FIRST: PartitionLog(NEW, 500), SECOND: PartitionLog(NEW, 300)}
    await positions.open([FIRST], logs)
    assert await positions.open([SECOND], logs) == {SECOND: Opening(300, 300)}
    later = {FIRST: PartitionLog(NEW, 500), SECOND: PartitionLog(NEW, 310)}
    assert (await positions.open([SECOND], later))[SECOND].lost == 10
    assert await stored(database) == {0: (500, 0), 1: (310, 10)}


async def test_an_offset_that_changes_while_its_partition_is_opened_stays(
    positions: Positions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await positions.open([FIRST], {FIRST: PartitionLog(NEW, 0)})
    read = Positions._stored

    async def overtaken(self: Positions, db: object) -> object:
        found = await read(self, db)  # type: ignore[arg-type]
        async with database.transaction() as other:
            await other.execute(text("UPDATE consumer_offsets SET next_offset = 9"))
        return found

    monkeypatch.setattr(Positions, "_stored", overtaken)
    with pytest.raises(Overtaken):
        await positions.open([FIRST], {FIRST: PartitionLog(NEW, 7)})
    assert await stored(database) == {0: (9, 0)}


async def test_what_refers_to_offsets_of_a_topic_is_forgotten_with_it(
    positions: Positions, database: Database
) -> None:
    await positions.open([FIRST, SECOND], {FIRST: PartitionLog(OLD, 0), SECOND: PartitionLog(OLD, 0)})
    place = {"consumer": "fraud", "topic": "orders"}
    times = {"first_at": now(), "last_at": now()}
    ignored = {"type": "OrderGifted", "first_offset": 1, "last_offset": 2, "events": 2, **times}
    async with database.transaction() as db:
        for partition in (0, 1):
            at = place | {"partition": partition}
            await db.execute(insert(crash_markers).values({**at, "kafka_offset": 3, "times": 2}))
            await db.execute(insert(ignored_events).values(at | ignored))
    await positions.open([FIRST], {FIRST: PartitionLog(NEW, 0), SECOND: PartitionLog(NEW, 0)})
    assert [row.partition for row in await rows(database, crash_markers)] == [1]
    assert [row.partition for row in await rows(database, ignored_events)] == [1]


async def test_a_batch_that_goes_on_in_a_restored_database_is_refused_and_stores_nothing(
    positions: Positions, database: Database
) -> None:
    opened = await positions.open([FIRST, SECOND], dict.fromkeys([FIRST, SECOND], PartitionLog(NEW, 0)))
    offsets, one = Offsets("fraud"), BatchCounts(received=1, applied=1)
    offsets.opened({each: at.next_offset for each, at in opened.items()})
    async with database.transaction() as db:
        await offsets.advance(db, FIRST, 10, one)
    offsets.committed(FIRST, 10, one)
    for restored in (
        "UPDATE consumer_offsets SET next_offset = 4 WHERE partition = 0",
        "DELETE FROM consumer_offsets WHERE partition = 0",
    ):
        async with database.transaction() as db:
            await db.execute(text(restored))
        with pytest.raises(DatabaseRestored):
            async with database.transaction() as db:
                await offsets.advance(db, FIRST, 11, one)
        await positions.store({FIRST: 11, SECOND: 5}, offsets.lowest)
        assert (await stored(database)).get(0, (4, 0)) == (4, 0)
        assert "restored" in await positions.changes({}, offsets.lowest, {})
    assert (await stored(database))[1] == (5, 0), (
        "the offset of a partition that was only read past is stored"
    )


async def test_an_offset_of_a_transaction_that_rolled_back_is_no_sign_of_a_restore(
    positions: Positions, database: Database
) -> None:
    await positions.open([FIRST], {FIRST: PartitionLog(NEW, 0)})
    offsets, one = Offsets("fraud"), BatchCounts(received=1, applied=1)
    offsets.opened({FIRST: 0})
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as db:
            await offsets.advance(db, FIRST, 10, one)
            raise ZeroDivisionError
    async with database.transaction() as db:
        await offsets.advance(db, FIRST, 10, one)
    offsets.committed(FIRST, 10, one)
    assert await stored(database) == {0: (10, 0)}
