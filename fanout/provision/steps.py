"""The steps of the set-up, in the pieces that `fanout up` can do as soon as each server is ready."""

import asyncio

from fanout import kafka_admin
from fanout.local import postgres, registry
from fanout.local.topology import StackSpec
from fanout.provision import contracts, databases, kafka_and_registry, migrations


def make_databases(spec: StackSpec) -> list[str]:
    return asyncio.run(_make_databases(spec))


async def _make_databases(spec: StackSpec) -> list[str]:
    passwords = spec.passwords
    async with databases.superuser(spec.ports.postgres, passwords[postgres.SUPERUSER]) as db:
        await databases.close_to_services(db)
        changes = await databases.ensure(db, registry.DATABASE, passwords[registry.DATABASE], {})
        for name in spec.services:
            changes += await databases.ensure(db, name, passwords[name], databases.TIMEOUTS)
    return changes


def migrate(spec: StackSpec) -> list[str]:
    return migrations.migrate(spec.addresses().databases)


def make_topics(spec: StackSpec) -> list[str]:
    """After the migrations: they say who listens to what."""
    from schemas import EVENTS

    subscriptions = asyncio.run(migrations.all_subscriptions(spec.addresses().databases))
    wanted = kafka_and_registry.wanted({event.TOPIC for event in EVENTS}, subscriptions)
    return kafka_and_registry.ensure(kafka_admin.admin(spec.ports), wanted)


def register_contracts(spec: StackSpec) -> list[str]:
    return contracts.register_all(registry.url(spec.ports))
