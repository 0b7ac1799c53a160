"""The topics: one per aggregate; beside it, for each consumer, one for what it parks and one for what comes back."""

from collections.abc import Iterator
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from chassis.events.topics import dead_letter_topic, redrive_topic
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
EVERYWHERE = {
    "retention.ms": str(REPLAY_WINDOW_MS),
    "segment.ms": str(SEGMENT_MS),
    # The broker unpacks what producers compress, and max.message.bytes limits what is unpacked.
    "compression.type": "uncompressed",
    # The broker refuses a CreateTime that is an hour ahead of its clock; a relay with such a clock would stand still.
    "message.timestamp.type": "LogAppendTime",
}


def wanted(event_topics: set[str], subscriptions: list[tuple[str, str]]) -> list[NewTopic]:
    """`subscriptions` are pairs of consumer and topic."""
    beside = {
        name
        for consumer, topic in subscriptions
        for name in (dead_letter_topic(topic, consumer), redrive_topic(topic, consumer))
    }
    events = EVERYWHERE | {"max.message.bytes": str(LARGEST_BYTES)}
    labelled = EVERYWHERE | {"max.message.bytes": str(LARGEST_LABELLED_BYTES)}
    return [
        *(NewTopic(name, PARTITIONS, replication_factor=1, config=events) for name in sorted(event_topics)),
        *(NewTopic(name, 1, replication_factor=1, config=labelled) for name in sorted(beside)),
    ]


def ensure(admin: AdminClient, topics: list[NewTopic]) -> list[str]:
    """Creates the topics that are missing, and gives the others these settings; returns what it changed."""
    existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    new = _create(admin, [topic for topic in topics if topic.topic not in existing])
    changes = _configure(admin, [topic for topic in topics if topic.topic not in new])
    return [*(f"topic {name}" for name in new), *changes]


def _create(admin: AdminClient, missing: list[NewTopic]) -> list[str]:
    if not missing:
        return []
    created = admin.create_topics(missing, operation_timeout=ANSWER_SECONDS)
    return [name for name, done in created.items() if _is_new(name, done)]


def _is_new(name: str, done: Future[None]) -> bool:
    try:
        done.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise SetupFailed(f"Kafka refused topic {name}: {error.args[0].str()}") from error
    return True


def _configure(admin: AdminClient, present: list[NewTopic]) -> Iterator[str]:
    if not present:
        return
    described = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic.topic) for topic in present], request_timeout=ANSWER_SECONDS
    )
    found = {resource.name: settings for resource, settings in described.items()}
    for topic in present:
        now = {name: entry.value for name, entry in found[topic.topic].result().items()}
        different = {name: value for name, value in (topic.config or {}).items() if now.get(name) != value}
        if different:
            _alter(admin, topic.topic, different)
            yield from (
                f"topic {topic.topic} has {name}={value}, it was {now.get(name)}"
                for name, value in different.items()
            )


def _alter(admin: AdminClient, topic: str, settings: dict[str, str]) -> None:
    changes = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    try:
        admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        raise SetupFailed(f"Kafka refused the settings of topic {topic}: {error.args[0].str()}") from error
