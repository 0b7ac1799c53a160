"""What is still there of services whose folder is gone: processes, databases, logins, groups and topics."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import asyncpg
from confluent_kafka.admin import AdminClient

from fanout import kafka_admin
from fanout.compose import blocks
from fanout.local import parent_watch, port_assignment, postgres, registry
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.provision.databases import superuser

ANSWER_SECONDS = 10
ROLE_OF_PROCESS = re.compile(r"-(api|worker)(-\d+)?$")
OWN_DATABASE = "SELECT datname FROM pg_database JOIN pg_roles o ON o.oid = datdba WHERE datname = rolname"
LOGIN = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"


@dataclass(frozen=True)
class Leftovers:
    service: str
    processes: list[str]
    ports: list[str]
    database: bool
    login: bool
    group: bool
    topics: list[str]
    blocks: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        found = [f"process {name}" for name in self.processes] + [f"port of {name}" for name in self.ports]
        found += [f"database {self.service}"] * self.database + [f"login {self.service}"] * self.login
        found += [f"group {self.service}"] * self.group + [f"topic {name}" for name in self.topics]
        return found + [f"block {name} of docker-compose.yml" for name in self.blocks]


@dataclass(frozen=True)
class Everything:
    """All that the servers and this home have, whoever it belongs to."""

    processes: set[str]
    ports: set[str]
    databases: set[str]
    logins: set[str]
    groups: set[str]
    topics: set[str]
    blocks: set[str] = field(default_factory=set)


async def find(spec: StackSpec) -> list[Leftovers]:
    """A database counts when its owner has its name, so that those of tests are nobody's leftovers."""
    admin = kafka_admin.admin(spec.ports)
    password = spec.passwords[postgres.SUPERUSER]
    async with superuser(spec.ports.postgres, password) as db:
        everything = await _everything(spec, db, admin)
    kept = {*spec.services, postgres.SUPERUSER, registry.DATABASE}
    return [leftovers_of(name, everything) for name in sorted(names(everything) - kept)]


def names(everything: Everything) -> set[str]:
    """Of all services that ever were, also of those that were removed by halves."""
    of_topics = {name.split(".")[-2] for name in everything.topics if is_side_topic(name)}
    processes = everything.ports | everything.blocks
    return everything.databases | of_topics | set(map(service_of, processes))


def service_of(process: str) -> str:
    return ROLE_OF_PROCESS.sub("", process)


def is_side_topic(name: str) -> bool:
    """A consumer's dead letters from a topic of events, or its retries."""
    from schemas import EVENTS

    topic, *rest = name.split(".")
    return topic in {event.TOPIC for event in EVENTS} and len(rest) == 2 and rest[1] in ("dlq", "retry")


async def _everything(spec: StackSpec, db: asyncpg.Connection, admin: AdminClient) -> Everything:
    states = Supervisor(spec.home).states()
    listed = admin.list_consumer_groups(request_timeout=ANSWER_SECONDS).result()
    return Everything(
        processes={state.name for state in states if state.name != parent_watch.NAME},
        ports=set(port_assignment.offsets(spec.home)),
        databases={row[0] for row in await db.fetch(OWN_DATABASE)},
        logins={row[0] for row in await db.fetch(LOGIN)},
        groups={group.group_id for group in listed.valid},
        topics=set(admin.list_topics(timeout=ANSWER_SECONDS).topics),
        blocks=set(blocks.names()),
    )


def leftovers_of(service: str, everything: Everything) -> Leftovers:
    return Leftovers(
        service,
        processes=_chosen(everything.processes, service),
        ports=_chosen(everything.ports, service),
        database=service in everything.databases,
        login=service in everything.logins,
        group=service in everything.groups,
        topics=sorted(
            name for name in everything.topics if is_side_topic(name) and name.split(".")[1] == service
        ),
        blocks=_chosen(everything.blocks, service),
    )


def _chosen(processes: Iterable[str], service: str) -> list[str]:
    return sorted(name for name in processes if "-" in name and service_of(name) == service)
