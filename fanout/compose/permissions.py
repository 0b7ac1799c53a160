"""Who may do what in Kafka: a principal a worker, its own topics and group, and nothing that is not in this list."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chassis.events.topics import dead_letter_topic, redrive_topic
from chassis.service import Service
from fanout.compose.logins import OPERATOR, Process


@dataclass(frozen=True, order=True)
class Right:
    """`kind` is topic or group, `operation` read, write or describe; reading and writing include describing."""

    principal: str
    operation: str
    kind: str
    name: str


def rights(services: Iterable[Service]) -> set[Right]:
    known = list(services)
    return {right for service in known for right in _of_worker(service, known)} | set(_of_operator(known))


def heard(service: Service) -> set[str]:
    """The topics of the events it reacts to, without those beside them."""
    return {event_type.TOPIC for event_type in service.handlers}


def _of_worker(service: Service, all_services: list[Service]) -> Iterator[Right]:
    """Rights have no pattern that ends in .dlq, so whoever files dead letters has one for each topic there is."""
    login = Process(service.name, "worker").login
    reads, writes = set(service.topics), {dead_letter_topic(topic, service.name) for topic in heard(service)}
    if service.topic:
        writes.add(service.topic)
    if service.dead_letter_handler:
        pairs = [(topic, other.name) for other in all_services for topic in heard(other)]
        reads |= {dead_letter_topic(*pair) for pair in pairs}
        writes |= {redrive_topic(*pair) for pair in pairs}
    yield from (Right(login, "read", "topic", name) for name in reads)
    yield from (Right(login, "write", "topic", name) for name in writes)
    if reads:
        yield Right(login, "read", "group", service.name)


def _of_operator(services: list[Service]) -> Iterator[Right]:
    """Looks at everything, and may move the place from which a group reads: that is what a replay is."""
    for service in services:
        yield Right(OPERATOR, "read", "group", service.name)
        for topic in heard(service):
            for name in (topic, dead_letter_topic(topic, service.name), redrive_topic(topic, service.name)):
                yield Right(OPERATOR, "read", "topic", name)
