"""Asks Kafka for the ids of topics (KIP-516), where each partition begins, and where a group has got to.

confluent_kafka's admin client is asked, because aiokafka knows no ids. It blocks, so it is asked in a thread.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.admin._topic import TopicDescription

from chassis.config import Broker
from chassis.errors import InfrastructureFailure

ANSWER_SECONDS = 4.0
RESULT_SECONDS = ANSWER_SECONDS + 2
"""The client itself gives up after ANSWER_SECONDS, unless something is wrong with it."""
EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
WORD = (1 << 64) - 1


class KafkaUnavailable(InfrastructureFailure):
    """Kafka does not answer, or does not have a topic that it has assigned."""


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """A partition: its topic's id, its first offset, and the offset that a group has committed there, if any."""

    topic_id: UUID
    start: int
    committed: int | None = None
    metadata: str = ""
    """What was committed with that offset, such as how far a replay goes."""


class KafkaTopics:
    """A client that connects when it is first asked, and anew after it got no answer.

    One that was frozen while it waited may time out for ever after (seen with librdkafka 2.16 and offsets of groups).
    """

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka
        self._client: AdminClient | None = None

    async def ids(self, topics: Iterable[str]) -> dict[str, UUID]:
        """Returns the ids of those topics that exist. Raises KafkaUnavailable."""
        found = await asyncio.to_thread(self._described, sorted(set(topics)))
        return {topic: id_of(description) for topic, description in found.items()}

    async def logs(self, group: str, topics: Iterable[str]) -> dict[tuple[str, int], PartitionLog]:
        """Returns all partitions of those topics that exist. Raises KafkaUnavailable.

        The ids are asked first: if a topic is made anew meanwhile, its id differs when it is asked again.
        """
        return await asyncio.to_thread(self._logs, group, sorted(set(topics)))

    def _logs(self, group: str, topics: list[str]) -> dict[tuple[str, int], PartitionLog]:
        described, client = self._described(topics), self._connected()
        places = [
            TopicPartition(topic, partition.id)
            for topic, description in described.items()
            for partition in description.partitions
        ]
        if not places:
            return {}
        try:
            asked = client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, places)], request_timeout=ANSWER_SECONDS
            )
            places = asked[group].result(RESULT_SECONDS).topic_partitions
            if refused := [at.error for at in places if at.error]:
                raise KafkaException(refused[0])
            committed = {(at.topic, at.partition): at for at in places}
            wanted = dict.fromkeys(places, EARLIEST)
            begins = client.list_offsets(wanted, request_timeout=ANSWER_SECONDS)
            starts = {
                (at.topic, at.partition): begin.result(RESULT_SECONDS).offset for at, begin in begins.items()
            }
        except (KafkaException, TimeoutError) as error:
            raise self._unavailable(error) from error
        return {
            (topic, number): _log(id_of(described[topic]), start, committed.get((topic, number)))
            for (topic, number), start in starts.items()
        }

    def _described(self, topics: list[str]) -> dict[str, TopicDescription]:
        if not topics:
            return {}
        found = {}
        asked = self._connected().describe_topics(TopicCollection(topics), request_timeout=ANSWER_SECONDS)
        for topic, answer in asked.items():
            try:
                found[topic] = answer.result(RESULT_SECONDS)
            except (KafkaException, TimeoutError) as error:
                if not _is_unknown_topic(error):
                    raise self._unavailable(error) from error
        return found

    def _connected(self) -> AdminClient:
        if self._client is None:
            settings = self._kafka.for_librdkafka() | {"reconnect.backoff.max.ms": 1_000, "log_level": 4}
            self._client = AdminClient(settings, logger=logging.getLogger("librdkafka"))
        return self._client

    def _unavailable(self, error: KafkaException | TimeoutError) -> KafkaUnavailable:
        """Lets the next question be asked by a new client."""
        self._client = None
        if isinstance(error, TimeoutError):
            return KafkaUnavailable(f"no answer within {RESULT_SECONDS:g} s")
        reason: KafkaError = error.args[0]
        return KafkaUnavailable(f"{reason.name()}: {reason.str()}")


def _log(topic_id: UUID, start: int, at: TopicPartition | None) -> PartitionLog:
    if at is None or at.offset < 0:
        return PartitionLog(topic_id, start)
    return PartitionLog(topic_id, start, at.offset, at.metadata or "")


def id_of(description: TopicDescription) -> UUID:
    """Returns the topic's id; the client has its two halves as signed numbers."""
    found: Any = description.topic_id
    high, low = found.get_most_significant_bits(), found.get_least_significant_bits()
    return UUID(int=(high & WORD) << 64 | low & WORD)


def _is_unknown_topic(error: Exception) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
