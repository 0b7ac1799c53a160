"""Asks Kafka for the ids of topics: one that is made anew has another id than the deleted one of its name."""

from collections.abc import Iterable
from uuid import UUID

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from fanout.kafka_admin import ANSWER_SECONDS


def topic_ids(admin: AdminClient, topics: Iterable[str]) -> dict[str, UUID]:
    """Returns the ids of those topics that exist."""
    known = admin.list_topics(timeout=ANSWER_SECONDS).topics
    wanted = [topic for topic in topics if topic in known]
    if not wanted:
        return {}
    described = admin.describe_topics(TopicCollection(wanted), request_timeout=ANSWER_SECONDS)
    return {topic: _uuid(answer.result().topic_id) for topic, answer in described.items()}


def _uuid(topic_id: object) -> UUID:
    """Converts the client's id, which has its two halves as signed numbers."""
    most: int = topic_id.get_most_significant_bits()  # type: ignore[attr-defined]
    least: int = topic_id.get_least_significant_bits()  # type: ignore[attr-defined]
    return UUID(int=(most % 2**64) << 64 | least % 2**64)
