"""What Kafka knows of a consumer group: who is in it, and which partitions each member has."""

import time
from dataclasses import dataclass, field

from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._group import ConsumerGroupDescription

from fanout.errors import FanoutError

ANSWER_SECONDS = 10
SETTLE_SECONDS = 60
INTERVAL_SECONDS = 0.2


@dataclass(frozen=True)
class Share:
    """The partitions of each topic that one worker reads."""

    worker: str
    topics: dict[str, list[int]] = field(default_factory=dict)


def shares(admin: AdminClient, group: str) -> list[Share]:
    """As it is now; in the middle of a rebalance nobody has anything."""
    return _shares(_describe(admin, group))


def settled(
    admin: AdminClient, group: str, workers: list[str], seconds: float = SETTLE_SECONDS
) -> list[Share]:
    """Waits until exactly these workers are in the group and everything is shared out among them."""
    deadline = time.monotonic() + seconds
    while True:
        described = _describe(admin, group)
        members = sorted(member.client_id for member in described.members)
        if described.state == ConsumerGroupState.STABLE and members == sorted(workers):
            return _shares(described)
        if time.monotonic() > deadline:
            raise FanoutError(
                f"group {group} has not settled after {seconds:.0f} s, it has {len(members)} of {len(workers)} "
                "workers: fanout status"
            )
        time.sleep(INTERVAL_SECONDS)


def _describe(admin: AdminClient, group: str) -> ConsumerGroupDescription:
    asked = admin.describe_consumer_groups([group], request_timeout=ANSWER_SECONDS)
    described: ConsumerGroupDescription = asked[group].result()
    return described


def _shares(described: ConsumerGroupDescription) -> list[Share]:
    found = []
    for member in described.members:
        topics: dict[str, list[int]] = {}
        for place in sorted(member.assignment.topic_partitions, key=lambda it: (it.topic, it.partition)):
            topics.setdefault(place.topic, []).append(place.partition)
        found.append(Share(member.client_id, topics))
    return sorted(found, key=lambda share: (len(share.worker), share.worker))
