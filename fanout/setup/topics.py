"""The topics: one per aggregate, and one for what each consumer parks from it."""

from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fanout.errors import SetupFailed

PARTITIONS = 6
REPLAY_WINDOW_MS = 7 * 24 * 60 * 60 * 1000
ANSWER_SECONDS = 30


def dead_letter_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}.dlq"


def wanted(event_topics: set[str], subscriptions: list[tuple[str, str]]) -> list[NewTopic]:
    """`subscriptions` are pairs of consumer and topic."""
    dead_letters = {dead_letter_topic(topic, consumer) for consumer, topic in subscriptions}
    counts = dict.fromkeys(sorted(event_topics), PARTITIONS) | dict.fromkeys(sorted(dead_letters), 1)
    retention = {"retention.ms": str(REPLAY_WINDOW_MS)}
    return [NewTopic(name, count, replication_factor=1, config=retention) for name, count in counts.items()]


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
