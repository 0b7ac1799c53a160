"""Finds out who reads an event: handlers in the databases and in running workers, and groups that are not services."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import KafkaException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import read_each
from fanout.errors import BadUsage, Unreachable
from fanout.kafka_admin import admin_of, committed
from fanout.readiness import listed
from fanout.running import Addresses
from schemas.files import ROOT
from schemas.generator import versions
from schemas.parsing import load, read_text
from schemas.rendering import folder_of

SUBSCRIBED = text("SELECT DISTINCT consumer FROM subscriptions WHERE type = :type ORDER BY consumer")
LAST_PUBLISHED = text("SELECT max(created_at) FROM outbox WHERE type = :type")
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Readers:
    """Lists who reads an event: services with a handler, workers that run older code, and groups of no service.

    A group that is not a service reads its topics whole, so only its owner knows which events it needs.
    """

    event: str
    topic: str
    last_published: datetime | None
    services: list[str]
    workers: list[str]
    groups: list[str]

    @property
    def is_unread(self) -> bool:
        return not (self.services or self.workers or self.groups)

    def described(self) -> list[str]:
        return [
            *(f"{service} handles it" for service in self.services),
            *(f"{worker}-worker runs older code that handles it: restart it" for worker in self.workers),
            *(
                f"group {group} reads the topic: ask its owner, then --except {group}"
                for group in self.groups
            ),
        ]


async def find_readers(event: str, addresses: Addresses, excepted: Collection[str]) -> Readers:
    """Returns who reads the event, which may be a retired one. Raises BadUsage if there is no such event."""
    folder = ROOT / folder_of(event)
    if not folder.is_dir():
        raise BadUsage(f"no event {event}: there is no folder schemas/{folder.name}")
    _, newest = versions(folder)[-1]
    topic = str(load(read_text(newest), newest.name)["topic"])

    async def read(_: str, db: AsyncConnection) -> tuple[list[str], datetime | None]:
        consumers = await db.scalars(SUBSCRIBED, {"type": event})
        return list(consumers), await db.scalar(LAST_PUBLISHED, {"type": event})

    found = await read_each(addresses.databases, read)
    services = sorted(consumer for consumers, _ in found for consumer in consumers)
    handled = await listed(addresses.workers, "handles", ANSWER_SECONDS)
    running = {name for name, types in handled.items() if event in types}
    groups = await asyncio.to_thread(_groups_on, topic, addresses)
    return Readers(
        event,
        topic,
        max((last for _, last in found if last), default=None),
        services,
        sorted(running - set(services)),
        sorted(groups - addresses.databases.keys() - set(excepted)),
    )


def _groups_on(topic: str, addresses: Addresses) -> set[str]:
    """Returns the groups that have committed an offset of the topic. Raises Unreachable."""
    admin = admin_of(addresses.broker)
    try:
        groups = [group.group_id for group in admin.list_consumer_groups().result().valid]
        return {group for group in groups if any(name == topic for name, _ in committed(admin, group))}
    except KafkaException as error:
        raise Unreachable("Kafka", addresses.kafka) from error
