"""Reads what the documents describe: the services with their handlers, the events, and the topics that setup makes."""

from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka.cimpl import NewTopic

import schemas
from chassis.service import Service, load
from fanout.provision.topics import wanted
from fanout.repository import services
from schemas import Event


@dataclass(frozen=True)
class System:
    """The services, the events and the topics; the documents need nothing else."""

    services: Sequence[Service]
    events: Sequence[type[Event]]

    @property
    def subscriptions(self) -> list[tuple[str, str]]:
        """Returns which consumer listens to which topic of events."""
        pairs = {(service.name, event.TOPIC) for service in self.services for event in service.handlers}
        return sorted(pairs)

    @property
    def topics(self) -> list[NewTopic]:
        """Returns every topic as `fanout setup` creates it: first those of events, then each consumer's own."""
        return wanted({event.TOPIC for event in self.events}, self.subscriptions)

    def events_of(self, topic: str) -> list[type[Event]]:
        return [event for event in self.events if topic == event.TOPIC]

    def handled(self, service: Service, topic: str) -> list[type[Event]]:
        """Returns the events of the topic that the service handles."""
        return [event for event in self.events_of(topic) if event in service.handlers]


def read_system() -> System:
    return System([load(name) for name in services()], schemas.EVENTS)
