"""Asks Kafka about consumer groups, with an admin client that logs nothing and reconnects quickly."""

import logging
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._group import ConsumerGroupDescription

from chassis.config import Broker
from fanout.local.ports import HOST, Ports

ANSWER_SECONDS = 10

Partition = tuple[str, int]
"""Topic and number."""
Offsets = Mapping[Partition, int]

SILENT = logging.getLogger("fanout.kafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def admin(ports: Ports) -> AdminClient:
    """Returns a client of the local stack."""
    return admin_of(Broker(f"{HOST}:{ports.kafka}"))


@cache
def admin_of(broker: Broker) -> AdminClient:
    settings: dict[str, Any] = {
        **broker.for_librdkafka(),
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 200,
        "error_cb": lambda _: None,
    }
    return AdminClient(settings, logger=SILENT)


def committed(admin: AdminClient, group: str) -> Offsets:
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_SECONDS
    )
    places = asked[group].result().topic_partitions
    return {(place.topic, place.partition): place.offset for place in places if place.offset >= 0}


def group_names(admin: AdminClient, seconds: float = ANSWER_SECONDS) -> set[str]:
    """Returns the consumer groups that Kafka knows and the login may describe."""
    listed = admin.list_consumer_groups(request_timeout=seconds).result().valid
    return {group.group_id for group in listed}


def assigned(admin: AdminClient, group: str) -> set[Partition]:
    """Returns the partitions that members of the group read now."""
    places = [member.assignment.topic_partitions for member in described(admin, group).members]
    return {(place.topic, place.partition) for shares in places for place in shares}


def described(admin: AdminClient, group: str) -> ConsumerGroupDescription:
    asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)
    description: ConsumerGroupDescription = asked[group].result()
    return description


def members(admin: AdminClient, group: str) -> Collection[str]:
    """Returns the client ids of the group's members; empty also for a group that Kafka does not know."""
    try:
        description = described(admin, group)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise
    if description.state in (ConsumerGroupState.EMPTY, ConsumerGroupState.DEAD):
        return []
    return sorted(member.client_id for member in description.members) or ["members that are just joining"]
