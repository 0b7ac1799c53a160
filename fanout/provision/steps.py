"""The steps of the set-up, apart from each other because `fanout up` takes each as soon as its server is ready."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka.admin import AdminClient

from fanout.contracts import registry
from fanout.local.ports import HOST
from fanout.provision import databases, topics
from fanout.provision.databases import REGISTRY


@dataclass(frozen=True)
class Servers:
    """What is provisioned: servers, services, and the passwords of Postgres' superuser and of each database's owner."""

    kafka: Callable[[], AdminClient]
    registry_url: str
    services: list[str]
    passwords: dict[str, str]
    postgres_port: int
    postgres_host: str = HOST

    @property
    def urls(self) -> dict[str, str]:
        return {name: self.url(name) for name in self.services}

    def url(self, name: str) -> str:
        """Returns SQLAlchemy's URL of a service's database, for its owner."""
        host = f"{self.postgres_host}:{self.postgres_port}"
        return f"postgresql+asyncpg://{name}:{self.passwords[name]}@{host}/{name}"


def make_databases(servers: Servers) -> list[str]:
    return asyncio.run(_make_databases(servers))


async def _make_databases(servers: Servers) -> list[str]:
    changes, passwords = [], servers.passwords
    async with databases.superuser(servers.postgres_port, passwords["postgres"], servers.postgres_host) as db:
        await db.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
        changes += await databases.ensure_database(db, REGISTRY, passwords[REGISTRY], {})
        for name in servers.services:
            changes += await databases.ensure_database(db, name, passwords[name], databases.TIMEOUTS)
        changes += await databases.ensure_reader(db, servers.services)
    return changes


def migrate(servers: Servers) -> list[str]:
    return databases.migrate(servers.urls)


def make_topics(servers: Servers) -> list[str]:
    """Comes after the migrations, which store who listens to what."""
    from schemas import EVENTS

    subscriptions = asyncio.run(databases.subscriptions(servers.urls))
    wanted = topics.wanted({event.TOPIC for event in EVENTS}, subscriptions)
    return topics.ensure(servers.kafka(), wanted)


def register_contracts(servers: Servers) -> list[str]:
    return registry.register_contracts(servers.registry_url)
