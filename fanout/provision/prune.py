"""`fanout setup --prune`: services whose folder is gone go from the servers too, after asking."""

import asyncio
import sys
import time

import asyncpg
import typer
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from fanout import kafka_admin
from fanout.compose import blocks
from fanout.console import say
from fanout.dead_letters_client import SERVICE, open_client
from fanout.errors import BadUsage, FanoutError
from fanout.local import lock, port_assignment, postgres
from fanout.local.start import reshape
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.provision import orphans
from fanout.provision.databases import superuser
from fanout.provision.orphans import Leftovers

ANSWER_SECONDS = 30
GOODBYE_SECONDS = 30
INTERVAL_SECONDS = 0.5


def remove_leftovers(spec: StackSpec, yes: bool) -> None:
    found = asyncio.run(orphans.find(spec))
    if not found:
        say("nothing to remove: every service that was set up has its folder")
        return
    if not yes:
        _ask(found)
    with lock.held(spec.home):
        reshape(Supervisor(spec.home), spec)
        for left in found:
            _remove(spec, left)


def _ask(found: list[Leftovers]) -> None:
    for left in found:
        say(f"services/{left.service} is gone, but there is still\n  " + "\n  ".join(left.lines()))
    if not sys.stdin.isatty():
        raise BadUsage("nothing was removed, there is no terminal to ask on: add --yes if that is meant")
    if not typer.confirm("Remove all of this, with the data?", err=True):
        raise FanoutError("nothing was removed")


def _remove(spec: StackSpec, left: Leftovers) -> None:
    """What finds it again goes last, so that the rest of a removal that failed can be removed."""
    if SERVICE in spec.apis:
        _discard_letters(left.service)
    admin = kafka_admin.admin(spec.ports)
    if left.group:
        _remove_group(admin, left.service)
    if left.topics:
        for done in admin.delete_topics(left.topics, operation_timeout=ANSWER_SECONDS).values():
            done.result()
    asyncio.run(_remove_login(spec, left))
    for block in left.blocks:
        blocks.remove(block)
    spec.home.forget_password(left.service)
    port_assignment.forget(spec.home, left.service)
    for line in left.lines():
        print(f"removed: {line}")


def _discard_letters(consumer: str) -> None:
    """Sent back, they would wait for ever for a topic that is gone, and everybody's letters behind them."""
    why = {"who": "fanout setup --prune", "why": f"services/{consumer} is gone"}
    with open_client() as client:
        pages = client.pages("/dead-letters/discard", {**why, "consumer": consumer, "consumer_is_gone": True})
        letters = sum(pages)
    if letters:
        print(f"discarded: {letters} dead letters of {consumer}")


def _remove_group(admin: AdminClient, group: str) -> None:
    """One whose last member was killed stays occupied until the member's session ends."""
    deadline = time.monotonic() + GOODBYE_SECONDS
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


async def _remove_login(spec: StackSpec, left: Leftovers) -> None:
    password = spec.passwords[postgres.SUPERUSER]
    async with superuser(spec.ports.postgres, password) as db:
        try:
            if left.database:
                await db.execute(f'DROP DATABASE "{left.service}" WITH (FORCE)')
            if left.login:
                await db.execute(f'DROP ROLE "{left.service}"')
        except asyncpg.PostgresError as error:
            raise FanoutError(f"Postgres keeps the database or login {left.service}: {error}") from error
