"""Finds out which topic each delivered message is in: a delivery report has an offset, and no topic id.

Only the active relay writes to its topics, so offsets of a partition that follow each other are in the same topic.
Kafka is asked for the id only where they do not: at the first message of a term, and after a topic was made anew. If it
has another id then, a message of this batch may be in the old topic: it is not marked, but sent again.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from chassis.events.kafka_topics import KafkaTopics
from chassis.events.topic_ids import newest_topic_ids, record_topic_ids
from chassis.outbox.outcome import Sent


class SentTopics:
    """The ids of the topics that one relay writes to, and the offset of its last message in each partition."""

    def __init__(self, kafka: KafkaTopics) -> None:
        self._kafka = kafka
        self._ids: dict[str, UUID] = {}
        self._last: dict[tuple[str, int], int] = {}

    async def begin(self, connection: asyncpg.Connection) -> None:
        """Begins a term, in which nothing is known but the ids that were seen last."""
        self._ids = await newest_topic_ids(connection)
        self._last.clear()

    async def located(self, connection: asyncpg.Connection, sent: Sequence[Sent]) -> list[tuple[Sent, UUID]]:
        """Returns the messages whose topic is known for sure, with its id. Raises KafkaUnavailable."""
        unsure = self._without_predecessor(sent)
        if unsure:
            found = await self._kafka.ids(unsure)
            await record_topic_ids(connection, found)
            unsure -= {topic for topic, id_ in found.items() if self._ids.get(topic, id_) == id_}
            self._ids = {**self._ids, **found}
        return [(row, self._ids[row.topic]) for row in sent if row.topic not in unsure]

    def _without_predecessor(self, sent: Sequence[Sent]) -> set[str]:
        """Returns the topics with a message that does not follow the last one of its partition."""
        topics = set()
        for row in sent:
            place = row.topic, row.partition
            if self._last.get(place) != row.offset - 1:
                topics.add(row.topic)
            self._last[place] = row.offset
        return topics
