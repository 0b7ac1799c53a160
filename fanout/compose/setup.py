"""`python -m fanout.compose.setup`: provisions the servers of docker-compose.yml, and says what it changed.

Databases and their owners, migrations, logins and their rights, topics, users of Kafka and their rights, contracts.
A second run changes nothing.
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
from fanout import environment
from fanout.compose.logins import EXPORTER, OPERATOR, SETUP, processes, workers
from fanout.compose.permissions import ensure_rights, grant, rights, set_passwords
from fanout.errors import FanoutError, SetupFailed
from fanout.provision import databases, steps
from fanout.provision.steps import Servers
from fanout.repository import services

PASSWORDS = Path("/run/secrets/passwords.json")
POSTGRES, POSTGRES_PORT = "postgres", 5432
KAFKA = "kafka:9094"
REGISTRY_URL = "http://registry:8080/apis/ccompat/v7"


def main() -> None:
    environment.drop_foreign()
    try:
        changes = list(_provision(read_passwords()))
    except KafkaException as error:
        sys.exit(f"error: Kafka refused the set-up: {error.args[0].str()}")
    except FanoutError as error:
        sys.exit(f"error: {error}")
    print("\n".join(f"new: {change}" for change in changes) or "nothing changed")


def _provision(passwords: dict[str, str]) -> Iterator[str]:
    broker = Broker(KAFKA, SETUP, passwords[SETUP], "PLAIN")
    admin = AdminClient(broker.for_librdkafka())
    servers = Servers(lambda: admin, REGISTRY_URL, services(), passwords, POSTGRES_PORT, POSTGRES)
    try:
        yield from steps.make_databases(servers)
    except asyncpg.InvalidPasswordError as error:
        raise SetupFailed(
            "Postgres' data is older than the passwords in .secrets: docker compose down -v, then up again"
        ) from error
    yield from asyncio.run(_make_logins(passwords))
    yield from steps.migrate(servers)
    asyncio.run(_grant(passwords["postgres"]))
    yield from steps.make_topics(servers)
    users = [OPERATOR, EXPORTER, *(worker.login for worker in workers())]
    set_passwords(admin, {user: passwords[user] for user in users})
    yield from ensure_rights(admin, rights(map(load, services())))
    yield from steps.register_contracts(servers)


async def _make_logins(passwords: dict[str, str]) -> list[str]:
    changes = []
    async with databases.superuser(POSTGRES_PORT, passwords["postgres"], POSTGRES) as db:
        for name in [OPERATOR, EXPORTER, *(process.login for process in processes())]:
            changes += await databases.ensure_login(db, name, passwords[name], databases.TIMEOUTS)
        changes += await databases.ensure_reader(db, [OPERATOR])
    return changes


async def _grant(password: str) -> None:
    for name in services():
        async with databases.superuser(POSTGRES_PORT, password, POSTGRES, database=name) as db:
            await grant(db, name)


def read_passwords() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(PASSWORDS.read_text())
        return found
    except OSError as error:
        raise SetupFailed(
            f"{PASSWORDS} cannot be read ({error.strerror}): docker compose up secrets writes it"
        ) from error


if __name__ == "__main__":
    main()
