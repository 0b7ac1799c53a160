"""What Kafka holds of a service's topics, where its group stands, and the only place that moves it."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPlace
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from fanout.errors import FanoutError
from fanout.provision.kafka_and_registry import REPLAY_WINDOW_MS

ANSWER_SECONDS = 10
EMPTY_SECONDS = 60
INTERVAL_SECONDS = 0.2

LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]

Place = tuple[str, int]
"""Topic and partition."""
Offsets = Mapping[Place, int]


@dataclass(frozen=True)
class Extent:
    """The records of one partition: the first one's offset, the one after the last, and the first one's time."""

    start: int
    end: int
    first_at: datetime | None


def extents(admin: AdminClient, topics: Iterable[str]) -> dict[Place, Extent]:
    known = admin.list_topics(timeout=ANSWER_SECONDS).topics
    places = [(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
    ends, starts = _ask(admin, places, LATEST), _ask(admin, places, EARLIEST)
    firsts = _ask(admin, places, OffsetSpec.for_timestamp(0))
    return {place: Extent(starts[place][0], ends[place][0], _moment(firsts[place][1])) for place in places}


def complete_since(found: Mapping[Place, Extent]) -> datetime | None:
    """Kafka holds every event from then on; None if it has not forgotten any.

    Where a partition is empty by now, what it forgot was older than any topic keeps.
    """
    oldest_kept = datetime.now(UTC) - timedelta(milliseconds=REPLAY_WINDOW_MS)
    truncated = [extent for extent in found.values() if extent.start > 0]
    return max((extent.first_at or oldest_kept for extent in truncated), default=None)


def offsets_at(admin: AdminClient, found: Mapping[Place, Extent], moment: datetime) -> dict[Place, int]:
    """Of the first record made then or later; the end where there is none."""
    asked = _ask(admin, found, OffsetSpec.for_timestamp(round(moment.timestamp() * 1000)))
    return {place: at if at >= 0 else found[place].end for place, (at, _) in asked.items()}


def committed(admin: AdminClient, group: str) -> dict[Place, int]:
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_SECONDS
    )
    return {
        (at.topic, at.partition): at.offset for at in asked[group].result().topic_partitions if at.offset >= 0
    }


async def until_empty(admin: AdminClient, group: str) -> None:
    """A worker that drained has left at once; one that was killed is missed after its session's time."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while members := _members(admin, group):
        if time.monotonic() > deadline:
            names = ", ".join(sorted(members))
            raise FanoutError(
                f"group {group} still has {names}, not of this stack: stop them, then try again"
            )
        await asyncio.sleep(INTERVAL_SECONDS)


def require_empty(admin: AdminClient, group: str, how_to_stop: str) -> None:
    if members := _members(admin, group):
        raise FanoutError(
            f"group {group} has {', '.join(sorted(members))}, nothing was changed: {how_to_stop}, then try again"
        )


def move(admin: AdminClient, group: str, offsets: Offsets) -> None:
    """Kafka refuses it while the group has members."""
    places = [KafkaPlace(topic, number, offset) for (topic, number), offset in offsets.items()]
    asked = admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group, places)], request_timeout=ANSWER_SECONDS
    )
    try:
        refused = [at.error for at in asked[group].result().topic_partitions if at.error]
    except KafkaException as error:
        refused = [error.args[0]]
    if refused:
        raise FanoutError(f"Kafka does not move group {group}, nothing was changed: {refused[0].str()}")


def require_untouched(admin: AdminClient, group: str, offsets: Offsets) -> None:
    if _members(admin, group) or any(
        committed(admin, group).get(place) != at for place, at in offsets.items()
    ):
        raise FanoutError(f"a worker of {group} was started in the middle: fanout replay {group} once more")


def _members(admin: AdminClient, group: str) -> list[str]:
    try:
        described = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)[group].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise
    if described.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
        return []
    return [member.client_id for member in described.members] or ["members that come and go"]


def _ask(admin: AdminClient, places: Iterable[Place], which: OffsetSpec) -> dict[Place, tuple[int, int]]:
    """Offset and timestamp, -1 each where there is no such record."""
    asked = admin.list_offsets(
        {KafkaPlace(*place): which for place in places}, request_timeout=ANSWER_SECONDS
    )
    answers = {(at.topic, at.partition): answer.result() for at, answer in asked.items()}
    return {place: (answer.offset, answer.timestamp) for place, answer in answers.items()}


def _moment(timestamp_ms: int) -> datetime | None:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC) if timestamp_ms >= 0 else None
