"""`fanout setup --prune`: removes what is left of services whose folder is gone, after asking."""

import asyncio
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import asyncpg
import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from fanout import kafka_admin
from fanout.compose import blocks
from fanout.console import counted, say
from fanout.dead_letters_client import SERVICE, open_client
from fanout.errors import BadUsage, FanoutError
from fanout.local import ports
from fanout.local.start import reshape
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.provision.databases import REGISTRY, superuser

ANSWER_SECONDS = 30
EMPTY_SECONDS = 30
INTERVAL_SECONDS = 0.5
KINDS = ("process", "port of", "database", "login", "group", "topic", "block")
NAMES_A_SERVICE = {"port of", "database", "topic", "block"}
"""The kinds that are enough to know a service by; a group alone may be a user's own."""
ROLE_OF_PROCESS = re.compile(r"-(api|worker)(-\d+)?$")
# A database counts when its owner has its name: those of tests are not orphans.
DATABASES = "SELECT datname FROM pg_database JOIN pg_roles o ON o.oid = datdba WHERE datname = rolname"
LOGINS = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper"


class Thing(NamedTuple):
    """Something in a server or in the stack directory, of one of the KINDS."""

    kind: str
    name: str

    @property
    def service(self) -> str:
        """The service it belongs to; empty if to none."""
        if self.kind in ("database", "login", "group"):
            return self.name
        if self.kind == "topic":
            return self.name.split(".")[1] if is_side_topic(self.name) else ""
        service, role, _ = (*ROLE_OF_PROCESS.split(self.name, maxsplit=1), "", "")[:3]
        return service if role else ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + " of docker-compose.yml" * (self.kind == "block")


def is_side_topic(name: str) -> bool:
    """Returns True for a consumer's dead-letter or redrive topic."""
    from schemas import EVENTS

    topic, *rest = name.split(".")
    return topic in {event.TOPIC for event in EVENTS} and len(rest) == 2 and rest[1] in ("dlq", "retry")


def remove_orphans(spec: StackSpec, yes: bool) -> None:
    found = orphans_in(asyncio.run(_everything(spec)), {*spec.services, "postgres", REGISTRY})
    if not found:
        say("nothing to remove: every service that was set up has its folder")
        return
    if not yes:
        _ask(found)
    with spec.directory.locked():
        reshape(Supervisor(spec.directory), spec)
        for service, orphans in found.items():
            _remove(spec, service, orphans)


async def _everything(spec: StackSpec) -> set[Thing]:
    admin = kafka_admin.admin(spec.ports)
    async with superuser(spec.ports.postgres, spec.passwords["postgres"]) as db:
        found = {
            "process": [state.name for state in Supervisor(spec.directory).states()],
            "port of": ports.offsets(spec.directory),
            "database": [row[0] for row in await db.fetch(DATABASES)],
            "login": [row[0] for row in await db.fetch(LOGINS)],
            "group": [group.group_id for group in admin.list_consumer_groups().result().valid],
            "topic": admin.list_topics(timeout=ANSWER_SECONDS).topics,
            "block": blocks.names(),
        }
    return {Thing(kind, name) for kind, names in found.items() for name in names}


def orphans_in(everything: Iterable[Thing], kept: set[str]) -> dict[str, list[Thing]]:
    """By service whose folder is gone, what is left of it; also after a removal that failed half-way."""
    by_service = defaultdict(list)
    for thing in sorted(everything, key=lambda thing: (KINDS.index(thing.kind), thing.name)):
        by_service[thing.service].append(thing)
    return {
        service: things
        for service, things in sorted(by_service.items())
        if service and service not in kept and NAMES_A_SERVICE & {thing.kind for thing in things}
    }


def _ask(found: dict[str, list[Thing]]) -> None:
    for service, orphans in found.items():
        say(f"services/{service} is gone, but there is still\n  " + "\n  ".join(map(str, orphans)))
    if not sys.stdin.isatty():
        raise BadUsage("nothing was removed, there is no terminal to ask on: add --yes if that is meant")
    if not typer.confirm("Remove all of this, with the data?", err=True):
        raise FanoutError("nothing was removed")


def _remove(spec: StackSpec, service: str, orphans: list[Thing]) -> None:
    """What names the service goes last, so that a removal that fails half-way can be repeated."""
    if SERVICE in spec.apis:
        _discard_dead_letters(service)
    admin, kinds = kafka_admin.admin(spec.ports), {thing.kind for thing in orphans}
    if "group" in kinds:
        _remove_group(admin, service)
    if topics := [thing.name for thing in orphans if thing.kind == "topic"]:
        for done in admin.delete_topics(topics, operation_timeout=ANSWER_SECONDS).values():
            done.result()
    asyncio.run(_remove_login(spec, service, kinds))
    for thing in orphans:
        if thing.kind == "block":
            blocks.remove(thing.name)
    spec.directory.forget_password(service)
    ports.release(spec.directory, service)
    for thing in orphans:
        print(f"removed: {thing}")


def _discard_dead_letters(consumer: str) -> None:
    """A redrive would wait for ever for a topic that is gone, and every later redrive behind it."""
    wanted = {"why": f"services/{consumer} is gone", "consumer": consumer, "consumer_is_gone": True}
    with open_client("fanout setup --prune") as client:
        count = sum(client.decide_all("discard", wanted))
    if count:
        print(f"discarded: {counted(count, 'dead letter')} of {consumer}")


def _remove_group(admin: AdminClient, group: str) -> None:
    """Waits until the sessions of killed members have ended, at most EMPTY_SECONDS."""
    deadline = time.monotonic() + EMPTY_SECONDS
    while True:
        try:
            admin.delete_consumer_groups([group], request_timeout=ANSWER_SECONDS)[group].result()
            return
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.GROUP_ID_NOT_FOUND:
                return
            if code != KafkaError.NON_EMPTY_GROUP or time.monotonic() > deadline:
                raise FanoutError(f"Kafka keeps group {group}: {error.args[0].str()}") from error
        time.sleep(INTERVAL_SECONDS)


async def _remove_login(spec: StackSpec, service: str, kinds: set[str]) -> None:
    async with superuser(spec.ports.postgres, spec.passwords["postgres"]) as db:
        try:
            if "database" in kinds:
                await db.execute(f'DROP DATABASE "{service}" WITH (FORCE)')
            if "login" in kinds:
                await db.execute(f'DROP ROLE "{service}"')
        except asyncpg.PostgresError as error:
            raise FanoutError(f"Postgres keeps the database or login {service}: {error}") from error
