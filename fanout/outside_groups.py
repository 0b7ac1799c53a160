"""Finds the consumer groups that belong to no service and read events: consumers in another repository or language."""

from collections.abc import Collection, Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from fanout.kafka_admin import ANSWER_SECONDS, Partition, assigned, committed, group_names
from schemas import EVENTS

EVENT_TOPICS = frozenset(event.TOPIC for event in EVENTS)
PASSED_OVER = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.GROUP_AUTHORIZATION_FAILED)


def outside_groups(
    admin: AdminClient, services: Collection[str], seconds: float = ANSWER_SECONDS
) -> list[tuple[str, str]]:
    """Returns pairs of group and topic, for the groups that are not in `services`. Raises KafkaException."""
    names = group_names(admin, seconds).difference(services)
    return event_readers({name: _partitions(admin, name) for name in names})


def event_readers(partitions: Mapping[str, Iterable[Partition]]) -> list[tuple[str, str]]:
    """Returns the pairs of group and topic, sorted, whose topic has events; `partitions` are keyed by group."""
    return sorted(
        {
            (group, topic)
            for group, places in partitions.items()
            for topic, _ in places
            if topic in EVENT_TOPICS
        }
    )


def _partitions(admin: AdminClient, group: str) -> set[Partition]:
    """Returns where the group has committed an offset, and what it reads now, perhaps without any success so far.

    That is nothing for a group that was deleted meanwhile, or whose offsets the login may not read.
    """
    try:
        return {*committed(admin, group), *assigned(admin, group)}
    except KafkaException as error:
        if error.args[0].code() in PASSED_OVER:
            return set()
        raise
