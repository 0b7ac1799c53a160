"""`python -m fanout.compose.setup`: makes everything what it should be, in the servers of the containers next door.

Databases and their owners, migrations, logins and their rights, topics, users and their rights, contracts. It says
what it changed; a second run changes nothing.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from chassis.config import Broker
from chassis.service import load
from fanout.compose import grants, principals
from fanout.compose.logins import OPERATOR, SETUP, processes, workers
from fanout.compose.permissions import rights
from fanout.errors import FanoutError, SetupFailed
from fanout.provision import contracts, databases, kafka_and_registry, migrations
from schemas import EVENTS

PASSWORDS = Path("/run/secrets/passwords.json")
POSTGRES, POSTGRES_PORT = "postgres", 5432
KAFKA = "kafka:9094"
REGISTRY = "http://registry:8080/apis/ccompat/v7"


def main() -> None:
    try:
        changes = list(ensure_everything(_passwords()))
    except KafkaException as error:
        sys.exit(f"error: Kafka refused the set-up: {error.args[0].str()}")
    except FanoutError as error:
        sys.exit(f"error: {error}")
    print("\n".join(f"new: {change}" for change in changes) or "nothing changed")


def ensure_everything(passwords: dict[str, str]) -> Iterator[str]:
    services = [worker.service for worker in workers()]
    yield from asyncio.run(_make_databases(services, passwords))
    owners = {name: f"postgresql+asyncpg://{name}:{passwords[name]}@{POSTGRES}/{name}" for name in services}
    yield from migrations.migrate(owners)
    asyncio.run(_give_grants(services, passwords["postgres"]))
    admin = AdminClient(Broker(KAFKA, SETUP, passwords[SETUP], "PLAIN").for_librdkafka())
    listening = asyncio.run(migrations.all_subscriptions(owners))
    yield from kafka_and_registry.ensure(
        admin, kafka_and_registry.wanted({event.TOPIC for event in EVENTS}, listening)
    )
    users = [OPERATOR, *(worker.login for worker in workers())]
    principals.ensure_users(admin, {user: passwords[user] for user in users})
    yield from principals.ensure_rights(admin, rights(map(load, services)))
    yield from contracts.register_all(REGISTRY)


async def _make_databases(services: list[str], passwords: dict[str, str]) -> list[str]:
    changes = []
    try:
        async with databases.superuser(POSTGRES_PORT, passwords["postgres"], POSTGRES) as db:
            await databases.close_to_services(db)
            for name in services:
                changes += await databases.ensure(db, name, passwords[name], databases.TIMEOUTS)
            for name in [OPERATOR, *(process.login for process in processes())]:
                changes += await databases.ensure_login(db, name, passwords[name], databases.TIMEOUTS)
    except asyncpg.InvalidPasswordError as error:
        raise SetupFailed(
            "Postgres' data is older than the passwords in .secrets: docker compose down -v, then up again"
        ) from error
    return changes


async def _give_grants(services: list[str], password: str) -> None:
    for name in services:
        async with databases.superuser(POSTGRES_PORT, password, POSTGRES, database=name) as db:
            await grants.apply(db, name)


def _passwords() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(PASSWORDS.read_text())
        return found
    except OSError as error:
        raise SetupFailed(
            f"{PASSWORDS} cannot be read ({error.strerror}): docker compose up secrets writes it"
        ) from error


if __name__ == "__main__":
    main()
