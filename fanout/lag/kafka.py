"""What Kafka says about lag: where partitions begin and end, where groups are, and the oldest record of each gap.

Clients stay open between two readings. After an error they are replaced: one that was frozen while it waited may time
out for ever after.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._resource import ResourceType

from chassis.config import Broker
from chassis.events.kafka_topics import id_of
from fanout.errors import Unreachable
from fanout.kafka_admin import SILENT, Offsets, Partition
from fanout.kafka_reader import open_reader, record_ends
from fanout.lag.timestamps import made_at
from fanout.outside_groups import outside_groups

ANSWER_SECONDS = 2.0
RESULT_SECONDS = ANSWER_SECONDS + 1
"""The client itself gives up after ANSWER_SECONDS, unless something is wrong with it."""
READ_SECONDS = 2.0
REMEMBERED_SECONDS = 30.0
"""Topics' settings, and the times of records, are asked again after so long: compaction may have removed a record."""

LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
DELETED = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.UNKNOWN_TOPIC_OR_PART)
"""A group or topic may be deleted between two questions."""


@dataclass(frozen=True, slots=True)
class Position:
    topic_id: UUID
    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True)
class OldestRecord:
    """The Unix times when a record was made (`ce_time`, else as `appended_at`) and when Kafka appended it."""

    made_at: float
    appended_at: float
    is_readable: bool = True
    """False if the record's headers cannot be read."""


@dataclass(frozen=True, slots=True)
class KafkaFacts:
    brokers: int
    topic_ids: Mapping[str, UUID]
    starts: Offsets
    ends: Offsets
    """After the last record that readers of committed records may get; transaction markers may come before it."""
    committed: Mapping[str, Offsets]
    """By group."""
    members: Mapping[str, int]


class KafkaClients:
    """An admin client and a reader of single records. Not for two threads at once."""

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka
        self._admin_client: AdminClient | None = None
        self._consumer: Consumer | None = None
        self._remembered_since = monotonic()
        self._records: dict[Position, OldestRecord] = {}
        self._record_ends: dict[tuple[UUID, Partition, int], int] = {}
        self._retention: dict[str, tuple[float, float | None]] = {}

    def close(self) -> None:
        if self._consumer:
            self._consumer.close()
        self._consumer = self._admin_client = None

    def outside_groups(self, services: Collection[str]) -> set[tuple[str, str]]:
        """Returns pairs of group and topic of the groups that are not in `services`. Raises Unreachable."""
        with self._errors():
            return set(outside_groups(self._admin(), services, ANSWER_SECONDS))

    def facts(self, pairs: Collection[tuple[str, str]], topics: Collection[str] = ()) -> KafkaFacts:
        """Asks about these pairs of group and topic, and further topics; those that do not exist are left out.

        Raises Unreachable.
        """
        with self._errors():
            client = self._admin()
            known = client.list_topics(timeout=ANSWER_SECONDS)
            wanted = sorted(({topic for _, topic in pairs} | set(topics)) & known.topics.keys())
            places = [
                TopicPartition(topic, number) for topic in wanted for number in known.topics[topic].partitions
            ]
            groups = sorted({group for group, _ in pairs})
            asked = {"request_timeout": ANSWER_SECONDS}
            described = client.describe_topics(TopicCollection(wanted), **asked) if wanted else {}
            ends = client.list_offsets(dict.fromkeys(places, LATEST), **asked) if places else {}
            starts = client.list_offsets(dict.fromkeys(places, EARLIEST), **asked) if places else {}
            positions = {
                group: client.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], **asked)
                for group in groups
            }
            memberships = client.describe_consumer_groups(groups, **asked) if groups else {}
            return KafkaFacts(
                len(known.brokers),
                {topic: id_of(answer.result(RESULT_SECONDS)) for topic, answer in described.items()},
                _offsets(starts),
                _offsets(ends),
                {group: _committed(answers[group]) for group, answers in positions.items()},
                {group: _members(answer) for group, answer in memberships.items()},
            )

    def starts(self, places: Collection[Partition]) -> Offsets:
        """Returns the first offsets of these partitions. Raises Unreachable."""
        if not places:
            return {}
        with self._errors():
            asked = {TopicPartition(*each): EARLIEST for each in places}
            return _offsets(self._admin().list_offsets(asked, request_timeout=ANSWER_SECONDS))

    def oldest(self, positions: Iterable[Position]) -> dict[Position, OldestRecord]:
        """Returns the first record at or after each position; leaves out what Kafka does not deliver in time."""
        wanted = set(positions)
        self._clear_what_is_old()
        with self._errors():
            for some in _rounds(wanted - self._records.keys()):
                for position, message in self._read(some):
                    self._records[position] = _oldest(message)
        return {each: self._records[each] for each in wanted if each in self._records}

    def last_records(
        self, topic_ids: Mapping[str, UUID], spans: Mapping[Partition, tuple[int, int]]
    ) -> dict[Partition, int]:
        """Returns the offset after the last record in each `(start, end)`, `start` where there is none."""
        keys = {each: (topic_ids[each[0]], each, end) for each, (_, end) in spans.items()}
        self._clear_what_is_old()
        known = {each: self._record_ends[key] for each, key in keys.items() if key in self._record_ends}
        new = {each: span for each, span in spans.items() if each not in known}
        if new:
            with self._errors():
                found = record_ends(self._reader(), new, READ_SECONDS)
                self._reader().unassign()
            self._record_ends |= {keys[each]: end for each, end in found.items() if end > new[each][0]}
            known |= found
        return {each: max(end, spans[each][0]) for each, end in known.items()}

    def retention(self, topics: Iterable[str]) -> dict[str, float | None]:
        """Returns the seconds after which Kafka may delete a record; None if it never does because of its age."""
        now = monotonic()
        wanted = set(topics)
        old = {
            topic
            for topic in wanted
            if now - self._retention.get(topic, (-REMEMBERED_SECONDS, 0))[0] >= REMEMBERED_SECONDS
        }
        if old:
            with self._errors():
                asked = [ConfigResource(ResourceType.TOPIC, topic) for topic in sorted(old)]
                answers = self._admin().describe_configs(asked, request_timeout=ANSWER_SECONDS)
                for resource, answer in answers.items():
                    self._retention[resource.name] = now, _retention_seconds(answer)
        return {topic: self._retention[topic][1] for topic in wanted}

    def _clear_what_is_old(self) -> None:
        if monotonic() - self._remembered_since > REMEMBERED_SECONDS:
            self._records.clear()
            self._record_ends.clear()
            self._remembered_since = monotonic()

    def _read(self, positions: Collection[Position]) -> Iterator[tuple[Position, Message]]:
        consumer = self._reader()
        consumer.assign([TopicPartition(*each.partition, each.offset) for each in positions])
        asked = {each.partition: each for each in positions}
        deadline = monotonic() + READ_SECONDS
        while asked and monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is None or _concerns_the_group(message):
                continue
            position = asked.pop((message.topic() or "", message.partition() or 0), None)
            if position and not message.error():
                yield position, message
        consumer.unassign()

    def _admin(self) -> AdminClient:
        if self._admin_client is None:
            settings: dict[str, Any] = {
                **self._kafka.for_librdkafka(),
                "reconnect.backoff.ms": 50,
                "reconnect.backoff.max.ms": 1_000,
                "error_cb": lambda _: None,
            }
            self._admin_client = AdminClient(settings, logger=SILENT)
        return self._admin_client

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = open_reader(self._kafka)
        return self._consumer

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (KafkaException, TimeoutError) as error:
            self._consumer = self._admin_client = None
            raise Unreachable("Kafka", self._kafka.address) from error


def _concerns_the_group(message: Message) -> bool:
    """The group is never joined, so no permission for it is needed."""
    error = message.error()
    return error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED


def _oldest(message: Message) -> OldestRecord:
    appended = message.timestamp()[1] / 1000
    try:
        return OldestRecord(made_at(message.headers() or [], message.timestamp()[1]), appended)
    except (SystemError, UnicodeDecodeError):  # raised by the client if a header name is not UTF-8
        return OldestRecord(appended, appended, is_readable=False)


def _rounds(positions: Iterable[Position]) -> list[list[Position]]:
    """A consumer has one position in a partition, so each round asks for one offset of each."""
    rounds: list[dict[Partition, Position]] = []
    for position in sorted(positions, key=lambda each: (each.partition, each.offset)):
        free = next((chosen for chosen in rounds if position.partition not in chosen), None)
        if free is None:
            rounds.append(free := {})
        free[position.partition] = position
    return [list(chosen.values()) for chosen in rounds]


def _offsets(answers: Mapping[TopicPartition, Any]) -> dict[Partition, int]:
    found = {}
    for place, answer in answers.items():
        with _passed_over(*DELETED):
            found[place.topic, place.partition] = answer.result(RESULT_SECONDS).offset
    return found


def _committed(answer: Any) -> dict[Partition, int]:
    with _passed_over(*DELETED):
        places: Sequence[TopicPartition] = answer.result(RESULT_SECONDS).topic_partitions
        return {(place.topic, place.partition): place.offset for place in places if place.offset >= 0}
    return {}


def _members(answer: Any) -> int:
    with _passed_over(*DELETED):
        description = answer.result(RESULT_SECONDS)
        if description.state not in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
            return max(len(description.members), 1)
    return 0


@contextlib.contextmanager
def _passed_over(*codes: int) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        if error.args[0].code() not in codes:
            raise


def _retention_seconds(answer: Any) -> float | None:
    """Returns after how many seconds Kafka deletes records of the topic; None if never, or if that may not be read."""
    with _passed_over(KafkaError.TOPIC_AUTHORIZATION_FAILED):
        settings = answer.result(RESULT_SECONDS)
        ms = int(settings["retention.ms"].value)
        deletes = "delete" in settings["cleanup.policy"].value
        return ms / 1000 if deletes and ms >= 0 else None
    return None
