"""The steps of the set-up, in the pieces that `fanout up` can do as soon as each server is ready."""

import asyncio

from confluent_kafka.schema_registry import SchemaRegistryClient

from fanout.setup import contracts, databases, migrations, topics
from fanout.stack import kafka_client, postgres, registry
from fanout.stack.blueprint import Blueprint


def make_databases(blueprint: Blueprint) -> list[str]:
    return asyncio.run(_make_databases(blueprint))


async def _make_databases(blueprint: Blueprint) -> list[str]:
    passwords = blueprint.passwords
    async with databases.superuser(blueprint.ports.postgres, passwords[postgres.SUPERUSER]) as db:
        await databases.close_to_services(db)
        changes = await databases.ensure(db, registry.DATABASE, passwords[registry.DATABASE], {})
        for name in blueprint.services:
            changes += await databases.ensure(db, name, passwords[name], databases.TIMEOUTS)
    return changes


def migrate(blueprint: Blueprint) -> list[str]:
    return migrations.migrate(blueprint.addresses().databases)


def make_topics(blueprint: Blueprint) -> list[str]:
    """After the migrations: they say who listens to what."""
    from schemas import EVENTS

    subscriptions = asyncio.run(_subscriptions(blueprint.addresses().databases))
    wanted = topics.wanted({event.TOPIC for event in EVENTS}, subscriptions)
    return topics.ensure(kafka_client.admin(blueprint.ports), wanted)


async def _subscriptions(urls: dict[str, str]) -> list[tuple[str, str]]:
    return [pair for url in urls.values() for pair in await migrations.subscriptions(url)]


def register_contracts(blueprint: Blueprint) -> list[str]:
    from schemas import EVENTS
    from schemas.files import subject_of, versions_of

    with SchemaRegistryClient({"url": registry.url(blueprint.ports)}) as client:
        changes = contracts.ensure_compatibility(client)
        for event in EVENTS:
            changes += contracts.ensure_versions(client, subject_of(event), versions_of(event))
    return changes
