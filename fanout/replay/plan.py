"""Plans from which offsets to which a replay reads, before anything is touched; and moves the group there."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from chassis.consumer.replays import replay_metadata
from chassis.service import Service
from fanout.errors import BadUsage, FanoutError
from fanout.kafka_admin import ANSWER_SECONDS, Offsets, Partition, committed, members
from fanout.kafka_reader import record_ends
from fanout.provision.topics import REPLAY_WINDOW_MS

EMPTY_SECONDS = 60
POLL_SECONDS = 0.2

NO_OFFSETS: Offsets = MappingProxyType({})
LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]


class Group(NamedTuple):
    """A service as Kafka knows it."""

    name: str
    topics: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """`since`: the read model will know of events from then on only; None if of all."""

    begins: Offsets
    ends: Offsets
    since: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.ends[place] - start for place, start in self.begins.items())

    def done(self, positions: Offsets) -> int:
        return sum(
            min(max(positions.get(place, start), start), self.ends[place]) - start
            for place, start in self.begins.items()
        )


@dataclass(frozen=True)
class Extent:
    """The records of one partition: the first one's offset, the one after the last, and the first one's time."""

    start: int
    end: int
    first_at: datetime | None


def require_history(service: Service) -> None:
    if service.dead_letter_handler is not None:
        raise BadUsage(
            f"{service.name} has nothing to replay: it stores the dead letters of all topics and the decisions "
            "on them, which are in no topic"
        )
    if not service.handlers:
        raise BadUsage(f"{service.name} has nothing to replay: it subscribes to no event")


def require_read_model(service: Service) -> None:
    """Raises BadUsage unless the service says that it may be emptied and filled again."""
    if not service.read_model:
        raise BadUsage(
            f"{service.name} is no read model, so it cannot be rebuilt: it would publish or send everything a second "
            f"time; fanout replay {service.name} reads its history again and ignores what was processed. A service "
            "that only fills its own tables says so: Service(..., read_model=True)"
        )


def of_read_model(
    admin: AdminClient, group: Group, asked: datetime | None = None, accept_gap: bool = False
) -> Plan:
    """Plans from the beginning or from `asked`. With `accept_gap` from where the history is complete.

    Raises BadUsage if Kafka has deleted events that are needed and the gap is not accepted.
    """
    found = extents(admin, group.topics)
    complete = complete_since(found)
    since = asked
    if complete and (asked is None or asked < complete):
        if not accept_gap:
            raise BadUsage(
                f"Kafka has deleted events that {group.name} needs: its history is complete since "
                f"{to_second(complete)} only; --yes rebuilds from there on"
            )
        since = complete
    begins = offsets_at(admin, found, since) if since else {place: of.start for place, of in found.items()}
    return Plan(begins, {place: extent.end for place, extent in found.items()}, since)


def of_effects(
    admin: AdminClient, group: Group, asked: datetime | None = None, receipts_since: datetime | None = None
) -> Plan:
    """Plans from the beginning or from `asked`, but never moves a group forward.

    Raises BadUsage for events whose receipts were deleted from the inbox: they would be applied a second time.
    """
    found = extents(admin, group.topics)
    reached = committed(admin, group.name)
    wanted = offsets_at(admin, found, asked) if asked else {}
    begins = {
        place: min(wanted.get(place, of.start), max(reached.get(place, 0), of.start))
        for place, of in found.items()
    }
    if receipts_since:
        covered = offsets_at(admin, found, receipts_since)
        if any(start < min(covered[place], reached.get(place, 0)) for place, start in begins.items()):
            raise BadUsage(
                f"{group.name} has deleted its receipts from before {to_second(receipts_since)}, and Kafka still "
                f"has older events, which would be applied again: --from {to_second(receipts_since)} or later"
            )
    return Plan(begins, {place: extent.end for place, extent in found.items()})


def without_control_records(consumer: Consumer, plan: Plan) -> Plan:
    """Ends every partition after its last record: a group never gets beyond it, and a replay would never end."""
    spans = {place: (start, plan.ends[place]) for place, start in plan.begins.items()}
    return replace(plan, ends=record_ends(consumer, spans))


def extents(admin: AdminClient, topics: Iterable[str]) -> dict[Partition, Extent]:
    known = admin.list_topics(timeout=ANSWER_SECONDS).topics
    places = [(topic, number) for topic in topics if topic in known for number in known[topic].partitions]
    ends, begins = _list_offsets(admin, places, LATEST), _list_offsets(admin, places, EARLIEST)
    firsts = _list_offsets(admin, places, OffsetSpec.for_timestamp(0))
    times = {
        place: datetime.fromtimestamp(timestamp_ms / 1000, UTC) if timestamp_ms >= 0 else None
        for place, (_, timestamp_ms) in firsts.items()
    }
    return {place: Extent(begins[place][0], ends[place][0], times[place]) for place in places}


def complete_since(found: Mapping[Partition, Extent]) -> datetime | None:
    """Returns since when Kafka has every event; None if it has not deleted any.

    What was deleted from a partition that is empty now was older than the retention time of all topics.
    """
    oldest_kept = datetime.now(UTC) - timedelta(milliseconds=REPLAY_WINDOW_MS)
    truncated = [extent for extent in found.values() if extent.start > 0]
    return max((extent.first_at or oldest_kept for extent in truncated), default=None)


def offsets_at(
    admin: AdminClient, found: Mapping[Partition, Extent], timestamp: datetime
) -> dict[Partition, int]:
    """Returns the offset of the first record made then or later; the end where there is none."""
    spec = OffsetSpec.for_timestamp(round(timestamp.timestamp() * 1000))
    asked = _list_offsets(admin, found, spec)
    return {place: at if at >= 0 else found[place].end for place, (at, _) in asked.items()}


def to_second(timestamp: datetime) -> str:
    """Formats a timestamp for `--from`, rounded up to the second."""
    whole = timestamp.astimezone(UTC) + timedelta(microseconds=999_999)
    return whole.strftime("%Y-%m-%dT%H:%M:%SZ")


async def until_empty(admin: AdminClient, group: str) -> None:
    """Waits until the group has no member; one that was killed is one until its session times out."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while found := members(admin, group):
        if time.monotonic() > deadline:
            raise FanoutError(
                f"group {group} still has {', '.join(found)}, not of this stack: stop them, then try again"
            )
        await asyncio.sleep(POLL_SECONDS)


def move(admin: AdminClient, group: str, offsets: Offsets, ends: Offsets = NO_OFFSETS) -> None:
    """Commits these offsets for the group, and where a replay of it ends; Kafka refuses that while it has members."""
    places = [
        TopicPartition(*place, offset, replay_metadata(offset, ends.get(place, 0)))
        for place, offset in offsets.items()
    ]
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
    reached = committed(admin, group)
    if members(admin, group) or any(reached.get(place) != at for place, at in offsets.items()):
        raise FanoutError(f"a worker of {group} was started in the middle: fanout replay {group} once more")


def _list_offsets(
    admin: AdminClient, places: Iterable[Partition], which: OffsetSpec
) -> dict[Partition, tuple[int, int]]:
    """Returns offset and timestamp (ms), -1 each where there is no such record."""
    asked = admin.list_offsets(
        {TopicPartition(*place): which for place in places}, request_timeout=ANSWER_SECONDS
    )
    answers = {(at.topic, at.partition): answer.result() for at, answer in asked.items()}
    return {place: (answer.offset, answer.timestamp) for place, answer in answers.items()}
