"""Finds what a restored database lacks and takes it over: the part of `fanout recover` that asks nobody."""

import asyncio
from collections.abc import Sequence

from confluent_kafka import KafkaException

from chassis.config import Broker
from chassis.service import Service
from fanout.console import console, progress
from fanout.errors import BadUsage, Unreachable
from fanout.kafka_admin import admin_of, members
from fanout.recover.missing import Comparison, Missing, Servers, compare
from fanout.recover.take_over import take_over


def topic_of(service: Service) -> str:
    """Returns the service's own topic. Raises BadUsage if it has none."""
    if service.topic is None:
        raise BadUsage(
            f"{service.name} publishes no events: a worker whose database was restored reads by itself what it lacks"
        )
    return service.topic


def compared(service: Service, servers: Servers) -> Comparison:
    """Compares the service's outbox with Kafka, with progress."""
    with progress(console) as tell:
        return asyncio.run(
            compare(
                service.name,
                topic_of(service),
                servers,
                progress=lambda done, total: tell(f"read {done:,} of {total:,} records"),
            )
        )


def readers(service: Service, broker: Broker) -> list[str]:
    """Returns the workers that are in the service's group."""
    try:
        return sorted(members(admin_of(broker), service.name))
    except KafkaException as error:
        raise Unreachable("Kafka", broker.address) from error


def taken_over(service: Service, servers: Servers, events: Sequence[Missing]) -> int:
    """Takes the events over, with progress, and returns how many."""
    with progress(console) as tell:
        asyncio.run(
            take_over(
                service,
                servers.database_url,
                servers.registry_url,
                events,
                lambda done: tell(f"took over {done:,} of {len(events):,} events"),
            )
        )
    return len(events)
