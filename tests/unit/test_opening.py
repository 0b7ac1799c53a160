"""Where a consumer begins to read a partition, and how much it has come too late for."""

from uuid import UUID

import pytest

from chassis.consumer.opening import Opening, StoredOffset, opening
from chassis.events.kafka_topics import PartitionLog

OLD, NOW = UUID(int=1), UUID(int=2)


def stored(next_offset: int, topic_id: UUID | None = NOW) -> StoredOffset:
    return StoredOffset(next_offset, topic_id)


@pytest.mark.parametrize(
    ("start", "committed", "stored", "expected"),
    [
        (0, 10, stored(10), Opening(10, 10)),
        (0, 10, stored(4), Opening(4, 4)),
        (0, 4, stored(10), Opening(4, 10)),
        (0, None, stored(10), Opening(10, 10)),
        (0, 10, stored(10, None), Opening(10, 10)),
        (7, 10, stored(10), Opening(10, 10)),
        (7, 2, stored(10), Opening(7, 10)),
        (30, 10, stored(10), Opening(30, 30, lost=20)),
        (30, 30, stored(10), Opening(30, 30, lost=20)),
        (0, 10, stored(10, OLD), Opening(0, 0, is_new_topic=True)),
        (3, 10, stored(10, OLD), Opening(3, 3, lost=3, is_new_topic=True)),
    ],
    ids=[
        "goes on",
        "reads again what the database has lost",
        "reads again what a replay has set back",
        "goes on after Kafka has forgotten the group",
        "takes rows of an earlier release for this topic's",
        "has read what is deleted",
        "reads again what is left of a replay",
        "has not read what is deleted",
        "has lost what Kafka takes for read",
        "reads a topic that was made anew from its beginning",
        "has not read what is deleted from a topic that was made anew",
    ],
)
def test_a_consumer(start: int, committed: int | None, stored: StoredOffset, expected: Opening) -> None:
    assert opening(PartitionLog(NOW, start, committed), stored, knows_topic=True) == expected


def test_what_was_deleted_before_a_consumer_was_new_is_not_lost() -> None:
    assert opening(PartitionLog(NOW, 500), None) == Opening(500, 500)
    assert opening(PartitionLog(NOW, 0, 40), None) == Opening(40, 40), "a replay has cleared its tables"
    assert opening(PartitionLog(NOW, 60, 40), None) == Opening(60, 60, lost=20)


def test_what_was_deleted_from_a_partition_that_was_added_is_lost() -> None:
    assert opening(PartitionLog(NOW, 5), None, knows_topic=True) == Opening(5, 5, lost=5)


def test_a_partition_whose_end_kafka_has_lost_is_read_from_its_beginning() -> None:
    assert opening(PartitionLog(NOW, 3, 90), stored(90), True, refused=90) == Opening(3, 3, is_cut=True)
    assert opening(PartitionLog(NOW, 95, 90), stored(90), True, refused=90) == Opening(95, 95, lost=5)
    anew = opening(PartitionLog(NOW, 0, 90), stored(90, OLD), True, refused=90)
    assert anew == Opening(0, 0, is_new_topic=True)
