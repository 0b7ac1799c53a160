"""Every principal against every topic and group, read, write and describe: what was not granted is refused."""

import time
from collections.abc import Iterable

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from chassis.config import Broker
from chassis.service import load
from fanout.repository import services
from tests.support.containers import Containers

SILENT = {"log_level": 0}
REFUSED_TOPIC = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
}
REFUSED = REFUSED_TOPIC | {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
WRITES = {
    "orders": "orders",
    "payments": "payments",
    "inventory": "inventory",
    "fraud": "fraud",
    "fulfillment": "shipments",
}
READERS = ("operator", "exporter")
LONGEST_SECONDS = 20
LATE_SECONDS = 2


def broker(containers: Containers, principal: str) -> Broker:
    address = f"127.0.0.1:{containers.environment['FANOUT_KAFKA_PORT']}"
    return Broker(address, principal, containers.passwords[principal])


def admin(containers: Containers, principal: str) -> AdminClient:
    return AdminClient({**broker(containers, principal).for_librdkafka(), **SILENT})


@pytest.fixture(scope="module")
def topics(containers: Containers) -> list[str]:
    """Whatever there is, as the operator sees it; it may read all of them."""
    return sorted(admin(containers, "operator").list_topics(timeout=30).topics)


def event_topics(service: str) -> set[str]:
    return {event.TOPIC for event in load(service).handlers}


def reads(principal: str, topics: Iterable[str]) -> set[str]:
    if principal in READERS:
        return set(topics)
    name = principal.removesuffix("_worker")
    if load(name).dead_letter_handler:
        return {topic for topic in topics if topic.endswith(".dlq")}
    return event_topics(name) | {f"{topic}.{name}.retry" for topic in event_topics(name)}


def writes(principal: str, topics: Iterable[str]) -> set[str]:
    name = principal.removesuffix("_worker")
    if principal in READERS:
        return set()
    if load(name).dead_letter_handler:
        return {topic for topic in topics if topic.endswith(".retry")}
    return (
        {f"{topic}.{name}.dlq" for topic in event_topics(name)} | {WRITES[name]}
        if name in WRITES
        else {f"{topic}.{name}.dlq" for topic in event_topics(name)}
    )


PRINCIPALS = [*READERS, *(f"{name}_worker" for name in services())]


def test_all_topics_are_in_the_walk(topics: list[str]) -> None:
    side = {
        f"{topic}.{name}.{end}"
        for name in services()
        for topic in event_topics(name)
        for end in ("dlq", "retry")
    }
    assert set(topics) == side | set(WRITES.values())


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_reading(containers: Containers, topics: list[str], principal: str) -> None:
    """Each topic is fetched from: a message or the end of the partition on one hand, a refusal on the other."""
    settings = {**broker(containers, principal).for_librdkafka(), **SILENT, "enable.partition.eof": True}
    consumer = Consumer({**settings, "group.id": "never-joined", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0) for topic in topics])
    seen = set(consumer.list_topics(timeout=LONGEST_SECONDS).topics)
    found = read(consumer, reads(principal, topics))
    consumer.close()
    assert found == reads(principal, topics)
    assert seen == reads(principal, topics) | writes(principal, topics)


def read(consumer: Consumer, wanted: set[str]) -> set[str]:
    """Goes on for a while after the last that was expected: one that should be refused may come late."""
    found: set[str] = set()
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.2)
        if message is not None and (error := message.error()) is not None:
            assert error.code() in REFUSED | {KafkaError._PARTITION_EOF}, error
        if message is not None and (error is None or error.code() == KafkaError._PARTITION_EOF):
            found.add(message.topic() or "")
            if found >= wanted:
                deadline = min(deadline, time.monotonic() + LATE_SECONDS)
    return found


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_writing(containers: Containers, topics: list[str], principal: str) -> None:
    """What must be refused is tried; of what is granted the broker itself is asked, so that nothing is written."""
    allowed = writes(principal, topics)
    settings = {**broker(containers, principal).for_librdkafka(), **SILENT, "message.timeout.ms": 8000}
    producer = Producer(settings)
    codes: dict[str, int] = {}

    def note(error: KafkaError | None, sent: Message) -> None:
        codes[sent.topic() or ""] = error.code() if error else 0

    for topic in sorted(set(topics) - allowed):
        producer.produce(topic, b"", on_delivery=note)
    producer.flush(LONGEST_SECONDS)
    assert {topic for topic, code in codes.items() if code not in REFUSED} == set()
    assert len(codes) == len(topics) - len(allowed)
    assert operations(containers, principal, allowed, "WRITE") == allowed


def operations(containers: Containers, principal: str, topics: set[str], operation: str) -> set[str]:
    from confluent_kafka import TopicCollection

    if not topics:
        return set()
    client = admin(containers, principal)
    asked = client.describe_topics(
        TopicCollection(sorted(topics)), include_authorized_operations=True, request_timeout=20
    )
    found = {topic: future.result().authorized_operations for topic, future in asked.items()}
    return {topic for topic, granted in found.items() if operation in {each.name for each in granted}}


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_groups(containers: Containers, principal: str) -> None:
    """A group whose workers run refuses to be moved, which is another refusal than one for want of a right."""
    client, reached = admin(containers, principal), set()
    for group in services():
        topic = sorted(load(group).topics or ["orders"])[0]
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
        try:
            client.list_consumer_group_offsets([asked], request_timeout=20)[group].result()
            reached.add(group)
        except KafkaException as error:
            assert error.args[0].code() in REFUSED, error
    everyone = set(services())
    assert reached == (everyone if principal in READERS else {principal.removesuffix("_worker")})


def test_the_exporter_cannot_move_a_group(containers: Containers) -> None:
    asked = ConsumerGroupTopicPartitions("orders", [TopicPartition("payments", 0, 0)])
    moved = admin(containers, "exporter").alter_consumer_group_offsets([asked], request_timeout=20)["orders"]
    try:
        [error] = [at.error for at in moved.result().topic_partitions]
    except KafkaException as refusal:
        error = refusal.args[0]
    assert error is not None and error.code() in REFUSED


@pytest.mark.parametrize("principal", READERS)
def test_who_reads_topics_may_ask_how_long_they_are_kept(containers: Containers, principal: str) -> None:
    asked = ConfigResource(ResourceType.TOPIC, "orders")
    answers = admin(containers, principal).describe_configs([asked], request_timeout=20)
    assert "retention.ms" in answers[asked].result()


@pytest.mark.parametrize("principal", PRINCIPALS)
def test_nobody_but_setup_changes_the_cluster(containers: Containers, principal: str) -> None:
    client = admin(containers, principal)
    created = client.create_topics([NewTopic("mine", 1, 1)], operation_timeout=10)["mine"]
    deleted = client.delete_topics(["orders"], operation_timeout=10)["orders"]
    for attempt in (created, deleted):
        with pytest.raises(KafkaException) as refusal:
            attempt.result()
        assert refusal.value.args[0].code() in REFUSED
    configured = client.describe_configs([ConfigResource(ResourceType.BROKER, "1")])
    with pytest.raises(KafkaException):
        next(iter(configured.values())).result()


@pytest.mark.parametrize(
    "stranger",
    [
        Broker("", "", ""),
        Broker("", "orders_worker", "guessed"),
        Broker("", "nobody", ""),
        Broker("", "setup", "", "PLAIN"),
    ],
    ids=["anonymous", "wrong password", "unknown", "setup from outside"],
)
def test_nobody_gets_in_who_cannot_say_who_he_is(containers: Containers, stranger: Broker) -> None:
    address = f"127.0.0.1:{containers.environment['FANOUT_KAFKA_PORT']}"
    known = Broker(address, stranger.user, stranger.password or "x", stranger.mechanism)
    with pytest.raises(KafkaException):
        AdminClient({**known.for_librdkafka(), **SILENT}).list_topics(timeout=5)
