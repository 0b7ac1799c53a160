"""Kafka's topics: whether all are there, their partitions and their settings."""

from collections.abc import Mapping

from confluent_kafka import KafkaError, KafkaException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.console import some
from fanout.databases import Databases, read_each
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.errors import Unreachable
from fanout.kafka_admin import admin_of
from fanout.provision import topics
from fanout.provision.topics import ANSWER_SECONDS
from schemas import EVENTS

REFUSED = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED)


async def settings(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    shape: list[Finding] = []
    admin = admin_of(around.addresses.broker)
    wanted = topics.wanted(
        {event.TOPIC for event in EVENTS}, await _subscriptions(around.addresses.databases)
    )
    try:
        found = admin.list_topics(timeout=ANSWER_SECONDS).topics
        present = [topic for topic in wanted if topic.topic in found]
        shape = [
            *missing([topic.topic for topic in wanted if topic.topic not in found]),
            *partitions(
                {topic.topic: (topic.num_partitions, len(found[topic.topic].partitions)) for topic in present}
            ),
        ]
        return [*shape, *different(topics.differences(admin, present))]
    except KafkaException as error:
        if error.args[0].code() in REFUSED:
            return [
                *shape,
                Finding(
                    "unasked",
                    "topics",
                    "their settings, which this login may not ask for: setup puts them right",
                ),
            ]
        raise Unreachable("Kafka", around.addresses.kafka) from error


def missing(names: list[str]) -> list[Finding]:
    if not names:
        return []
    return [
        Finding(
            "wrong",
            "topics",
            f"Kafka has no topic {some(names)}",
            "what is to be sent there is set aside, and nobody reads it",
            "fanout setup, then fanout outbox ls",
        )
    ]


def partitions(counts: Mapping[str, tuple[int, int]]) -> list[Finding]:
    """`counts`: by topic, how many partitions it is made with, and how many it has."""
    return [
        Finding(
            "watch",
            "topics",
            f"topic {topic} has {now} partitions, it is made with {wanted}",
            "an order's later events may lie in another partition than its first ones, and overtake them",
            "let consumers read all of it before you add some; to go back the topic has to be made anew",
        )
        for topic, (wanted, now) in counts.items()
        if now != wanted
    ]


def different(found: Mapping[str, Mapping[str, tuple[str, str | None]]]) -> list[Finding]:
    wrong = [
        Finding(
            "wrong",
            "topics",
            f"topic {topic} has {name}={now}, not {wanted}",
            "retention, the largest message or whose clock counts is not as documented",
            "fanout setup",
        )
        for topic, settings in found.items()
        for name, (wanted, now) in settings.items()
    ]
    return wrong or [Finding("ok", "topics", f"{len(found)} topics have their settings")]


async def _subscriptions(urls: Databases) -> list[tuple[str, str]]:
    async def of_one(_: str, db: AsyncConnection) -> list[tuple[str, str]]:
        return [(row.consumer, row.topic) for row in await db.execute(_LISTENING)]

    return sorted(pair for found in await read_each(urls, of_one) for pair in found)


_LISTENING = text("SELECT DISTINCT consumer, topic FROM subscriptions")
