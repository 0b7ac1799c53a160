"""Asks Kafka for the ids of topics: one that is made anew has another id than the deleted one of its name."""

from collections.abc import Iterable
from uuid import UUID

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from chassis.events.kafka_topics import id_of
from fanout.kafka_admin import ANSWER_SECONDS


def topic_ids(admin: AdminClient, topics: Iterable[str]) -> dict[str, UUID]:
    """Returns the ids of those topics that exist."""
    known = admin.list_topics(timeout=ANSWER_SECONDS).topics
    wanted = [topic for topic in topics if topic in known]
    if not wanted:
        return {}
    described = admin.describe_topics(TopicCollection(wanted), request_timeout=ANSWER_SECONDS)
    return {topic: id_of(answer.result()) for topic, answer in described.items()}
