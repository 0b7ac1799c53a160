"""Reads a service's history again. A read model is rebuilt from it; any other service ignores all of it.

Whatever ends the tool, and between whichever two steps, nothing is lost and nothing happens twice:

| ended after          | then                                                                                 |
|----------------------|--------------------------------------------------------------------------------------|
| workers stopped      | nothing has changed; `fanout up` starts them again                                   |
| offsets moved back   | the inbox still knows every event: `fanout up`, and all that comes again is ignored  |
| tables cleared       | the offsets lie at the beginning already: `fanout up`, and the rebuild goes on       |
| workers started      | the rebuild goes on by itself; `fanout lag` shows how far it is                      |

So offsets come first, then the clearing, which is one transaction. `fanout replay` again is right at any time.
An interrupt or an error starts the workers before the tool ends; only SIGKILL leaves that to `fanout up`.
A worker that somebody starts by hand between offsets and clearing could read ahead of it: that is noticed and said.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
from fanout import kafka_admin
from fanout.console import say
from fanout.kafka_reader import reader
from fanout.replay import history, state
from fanout.replay.plan import Group, Plan, of_effects, of_read_model, without_control_records
from fanout.replay.progress import follow
from fanout.replay.reapplied import not_ignored
from fanout.replay.report import Summary
from fanout.replay.state import Books
from fanout.running import Addresses

if TYPE_CHECKING:
    from fanout.replay.workers import Workers


@dataclass(frozen=True)
class Asked:
    """`since`: only events from then on. `accept_gap`: also if Kafka has forgotten the beginning."""

    since: datetime | None
    accept_gap: bool


async def replay(workers: "Workers", service: Service, addresses: Addresses, asked: Asked) -> Summary:
    """Stops the workers, rewinds their group, starts them and waits until they have read everything again."""
    name, url = service.name, addresses.databases[service.name]
    async with _planned(service, addresses, asked) as (db, admin, plan):
        began = time.monotonic()
        async with _stopped(workers, name):
            await history.until_empty(admin, name)
            await _rewind(db, admin, service, plan)
            before = await state.read(name, url)
        say(f"the workers of {name} run again and read {plan.total:,} events")
        pace = await follow(admin, name, plan)
        workers.wait_ready(name)
        after = await state.read(name, url)
        again = [] if service.read_model else await not_ignored(name, addresses.databases, before)
    return _summary(service, plan, before, after, again, time.monotonic() - began, pace.per_second)


async def rewind(service: Service, addresses: Addresses, asked: Asked, how_to_stop: str) -> Plan:
    """Rewinds the group of workers that only the caller's user can stop and start; refuses while any of them runs."""
    async with _planned(service, addresses, asked) as (db, admin, plan):
        history.require_empty(admin, service.name, how_to_stop)
        await _rewind(db, admin, service, plan)
    return plan


@asynccontextmanager
async def _planned(
    service: Service, addresses: Addresses, asked: Asked
) -> AsyncIterator[tuple[AsyncConnection, AdminClient, Plan]]:
    """Yields what to read again, under a lock that excludes other replays of the service."""
    admin, group = kafka_admin.admin_of(addresses.broker), Group(service.name, service.topics)
    async with state.locked(service.name, addresses.databases[service.name]) as db:
        if service.read_model:
            plan = of_read_model(admin, group, asked.since, asked.accept_gap)
        else:
            plan = of_effects(admin, group, asked.since, await state.receipts_since(db))
        with reader(addresses.broker) as consumer:
            plan = without_control_records(consumer, plan)
        yield db, admin, plan


async def _rewind(db: AsyncConnection, admin: AdminClient, service: Service, plan: Plan) -> None:
    history.move(admin, service.name, plan.starts)
    if service.read_model:
        await state.clear(db, service, plan.since)
        history.require_untouched(admin, service.name, plan.starts)


@asynccontextmanager
async def _stopped(workers: "Workers", service: str) -> AsyncIterator[None]:
    """They run again afterwards, whatever happens."""
    with workers.undisturbed():
        try:
            workers.stop(service)
            yield
        finally:
            workers.start(service)


def _summary(
    service: Service, plan: Plan, before: Books, after: Books, again: list[str], seconds: float, rate: float
) -> Summary:
    became = {count: number - before.counts[count] for count, number in after.counts.items()}
    unreceipted = 0 if service.read_model else max(after.surplus - before.surplus, 0)
    return Summary(
        service=service.name,
        rebuilt=service.read_model,
        since=plan.since,
        events=plan.total,
        seconds=seconds,
        per_second=rate,
        seen=became["received"],
        ignored=became["duplicates"],
        applied=became["applied"],
        parked=became["parked"],
        not_ignored=again,
        without_receipt=unreceipted,
    )
