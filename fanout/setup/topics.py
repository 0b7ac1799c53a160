"""The topics: one per aggregate; beside it, for each consumer, one for what it parks and one for what comes back."""

from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from chassis.topics import dead_letter_topic, retry_topic
from fanout.errors import SetupFailed

PARTITIONS = 6
REPLAY_WINDOW_MS = 7 * 24 * 60 * 60 * 1000
LARGEST_BYTES = 1280 * 1024
"""With headers. More than any consumer accepts, so that what is too large for them is seen, and parked."""
SEGMENT_MS = 24 * 60 * 60 * 1000
"""Kafka forgets whole segments, when their last record is old enough: so nothing is kept longer than a day more."""
LARGEST_LABELLED_BYTES = 2 * 1024 * 1024
"""The largest message still fits with what is written on it when it is parked."""
ANSWER_SECONDS = 30


def wanted(event_topics: set[str], subscriptions: list[tuple[str, str]]) -> list[NewTopic]:
    """`subscriptions` are pairs of consumer and topic."""
    beside = {
        name
        for consumer, topic in subscriptions
        for name in (dead_letter_topic(topic, consumer), retry_topic(topic, consumer))
    }
    kept = {"retention.ms": str(REPLAY_WINDOW_MS), "segment.ms": str(SEGMENT_MS)}
    events = kept | {"max.message.bytes": str(LARGEST_BYTES)}
    labelled = kept | {"max.message.bytes": str(LARGEST_LABELLED_BYTES)}
    return [
        *(NewTopic(name, PARTITIONS, replication_factor=1, config=events) for name in sorted(event_topics)),
        *(NewTopic(name, 1, replication_factor=1, config=labelled) for name in sorted(beside)),
    ]


def ensure(admin: AdminClient, topics: list[NewTopic]) -> list[str]:
    existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    missing = [topic for topic in topics if topic.topic not in existing]
    if not missing:
        return []
    created = admin.create_topics(missing, operation_timeout=ANSWER_SECONDS)
    return [f"topic {name}" for name, done in created.items() if _is_new(name, done)]


def _is_new(name: str, done: Future[None]) -> bool:
    try:
        done.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise SetupFailed(f"Kafka refused topic {name}: {error.args[0].str()}") from error
    return True
