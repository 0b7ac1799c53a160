"""Kafka's topics: creates what is missing, corrects the settings of the others, and says what it changed."""

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from chassis.events.topics import dead_letter_topic, redrive_topic
from fanout.errors import SetupFailed

PARTITIONS = 6
REPLAY_WINDOW_MS = 7 * 24 * 60 * 60 * 1000
SEGMENT_MS = 24 * 60 * 60 * 1000
"""Kafka deletes whole segments once their last record is old enough, so nothing is kept for more than a day longer."""
LARGEST_BYTES = 1280 * 1024
"""With headers; more than any consumer accepts, so that a message that is too large for them is read and parked."""
LARGEST_DEAD_LETTER_BYTES = 2 * 1024 * 1024
"""Room for the largest message with its dead-letter headers."""
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
    """One topic per aggregate, and for each subscription (consumer, topic) a dead-letter and a redrive topic."""
    beside = {
        name
        for consumer, topic in subscriptions
        for name in (dead_letter_topic(topic, consumer), redrive_topic(topic, consumer))
    }
    events = EVERYWHERE | {"max.message.bytes": str(LARGEST_BYTES)}
    dead_letters = EVERYWHERE | {"max.message.bytes": str(LARGEST_DEAD_LETTER_BYTES)}
    return [
        *(NewTopic(name, PARTITIONS, replication_factor=1, config=events) for name in sorted(event_topics)),
        *(NewTopic(name, 1, replication_factor=1, config=dead_letters) for name in sorted(beside)),
    ]


def ensure(admin: AdminClient, topics: list[NewTopic]) -> list[str]:
    """Creates missing topics, corrects the settings of the others, and returns a line for each change."""
    existing = admin.list_topics(timeout=ANSWER_SECONDS).topics
    new = _create(admin, [topic for topic in topics if topic.topic not in existing])
    changes = _configure(admin, [topic for topic in topics if topic.topic not in new])
    return [*(f"topic {name}" for name in new), *changes]


def _create(admin: AdminClient, missing: list[NewTopic]) -> list[str]:
    """Returns those that no other process has created meanwhile."""
    created = admin.create_topics(missing, operation_timeout=ANSWER_SECONDS) if missing else {}
    new = []
    for name, done in created.items():
        try:
            done.result()
            new.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise SetupFailed(f"Kafka refused topic {name}: {error.args[0].str()}") from error
    return new


def differences(admin: AdminClient, present: list[NewTopic]) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Returns by topic the settings that are not as wanted: the wanted value, and the one that Kafka has."""
    if not present:
        return {}
    described = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, topic.topic) for topic in present], request_timeout=ANSWER_SECONDS
    )
    found = {resource.name: settings.result() for resource, settings in described.items()}
    return {
        topic.topic: {
            name: (value, now)
            for name, value in (topic.config or {}).items()
            if (now := found[topic.topic][name].value if name in found[topic.topic] else None) != value
        }
        for topic in present
    }


def _configure(admin: AdminClient, present: list[NewTopic]) -> Iterator[str]:
    for topic, different in differences(admin, present).items():
        if different:
            set_on(admin, topic, {name: value for name, (value, _) in different.items()})
            yield from (
                f"topic {topic} has {name}={value}, it was {was}" for name, (value, was) in different.items()
            )


def set_on(admin: AdminClient, topic: str, settings: dict[str, str]) -> None:
    """Gives a topic these settings and leaves its others. Raises SetupFailed if Kafka refuses."""
    changes = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=changes)
    try:
        admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
    except KafkaException as error:
        raise SetupFailed(f"Kafka refused the settings of topic {topic}: {error.args[0].str()}") from error
