"""Lets a service read its history again. A read model is rebuilt from it; any other service ignores all of it.

However the tool ends, and between whichever two steps, nothing is lost and nothing happens twice:

| ended after          | then                                                                                 |
|----------------------|--------------------------------------------------------------------------------------|
| workers stopped      | nothing has changed; `fanout up` starts them again                                   |
| offsets moved back   | the inbox still has every receipt: `fanout up`, and all that comes again is ignored  |
| tables cleared       | the offsets are at the beginning already: `fanout up`, and the rebuild goes on       |
| workers started      | the rebuild goes on by itself; `fanout lag` shows how far it is                      |

So offsets come first, then the clearing, which is one transaction. `fanout replay` again is right at any time.
An interrupt or an error starts the workers before the tool ends; only after SIGKILL is `fanout up` needed.
A worker that is started by hand between offsets and clearing could read ahead of it: that is detected and reported.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from confluent_kafka.admin import AdminClient
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
from fanout.console import console, progress, say, some
from fanout.errors import FanoutError
from fanout.kafka_admin import admin_of, committed, members
from fanout.kafka_reader import reader
from fanout.kafka_topics import topic_ids
from fanout.replay import history, state
from fanout.replay import plan as plans
from fanout.replay.plan import Group, Plan
from fanout.replay.state import ConsumerSnapshot
from fanout.running import Addresses

if TYPE_CHECKING:  # the container has no local stack
    from fanout.local.topology import StackSpec

POLL_SECONDS = 0.2
STILL_SECONDS = 120.0
SPEAKING_SECONDS = 1.0


@dataclass(frozen=True)
class Asked:
    """What to replay: events published since `since`, or all; `accept_gap` allows that Kafka deleted the first ones."""

    since: datetime | None
    accept_gap: bool


async def replay(spec: "StackSpec", service: Service, addresses: Addresses, asked: Asked) -> "Summary":
    """Stops the service's workers, moves its group back, starts them, and waits until everything is read."""
    name, url = service.name, addresses.databases[service.name]
    admin = admin_of(addresses.broker)
    async with state.locked(name, url) as db:
        plan = await _plan(db, service, addresses, asked)
        began = time.monotonic()
        async with _stopped_workers(spec, name):
            await plans.until_empty(admin, name)
            before = await _rewind(db, service, addresses, plan)
        say(f"the workers of {name} run again and read {plan.total:,} events")
        pace = await wait_until_read(admin, name, plan)
        _wait_ready(spec, name)
        after = await state.read(name, url)
        reapplied = [] if service.read_model else await state.not_ignored(name, addresses.databases, before)
    counts = {count: number - before.counts[count] for count, number in after.counts.items()}
    return Summary(
        service=name,
        rebuilt=service.read_model,
        since=plan.since,
        events=plan.total,
        seconds=time.monotonic() - began,
        per_second=pace.per_second,
        seen=counts["received"],
        ignored=counts["duplicates"],
        applied=counts["applied"],
        parked=counts["parked"],
        not_ignored=reapplied,
        without_receipt=0 if service.read_model else max(after.excess - before.excess, 0),
    )


async def rewind(service: Service, addresses: Addresses, asked: Asked) -> int:
    """Moves the group back, for a system whose workers the tool cannot stop; returns how many events it will read.

    Raises FanoutError if the group has members.
    """
    name = service.name
    async with state.locked(name, addresses.databases[name]) as db:
        if found := members(admin_of(addresses.broker), name):
            raise FanoutError(
                f"{', '.join(found)} is running: docker compose stop {name}-worker, then try again"
            )
        plan = await _plan(db, service, addresses, asked)
        await _rewind(db, service, addresses, plan)
    return plan.total


async def _plan(db: AsyncConnection, service: Service, addresses: Addresses, asked: Asked) -> Plan:
    admin, group = admin_of(addresses.broker), Group(service.name, service.topics)
    if service.read_model:
        asked_at = await state.clock(db)
        plan = plans.of_read_model(admin, group, asked.since, asked.accept_gap)
        ids = topic_ids(admin, group.topics)
        await history.require_history_in_kafka(addresses.databases, service, plan, ids, asked_at)
    else:
        plan = plans.of_effects(admin, group, asked.since, await state.receipts_since(db))
    with reader(addresses.broker) as consumer:
        return plans.without_control_records(consumer, plan)


async def _rewind(
    db: AsyncConnection, service: Service, addresses: Addresses, plan: Plan
) -> ConsumerSnapshot:
    admin, name = admin_of(addresses.broker), service.name
    plans.move(admin, name, plan.begins, plan.ends)
    if service.read_model:
        await state.clear(db, service, plan.since)
        plans.require_untouched(admin, name, plan.begins)
    return await state.read(name, addresses.databases[name])


@asynccontextmanager
async def _stopped_workers(spec: "StackSpec", service: str) -> AsyncIterator[None]:
    """Starts the workers again at the end, whatever happens; no other command can start or stop any meanwhile."""
    from fanout.local.supervisor import Supervisor

    supervisor, names = Supervisor(spec.directory), spec.workers[service]
    with spec.directory.locked():
        try:
            supervisor.stop(names)
            yield
        finally:
            for name in names:
                supervisor.start(name)


def _wait_ready(spec: "StackSpec", service: str) -> None:
    from fanout.local.start import probe_of
    from fanout.local.supervisor import Supervisor

    for name in spec.workers[service]:
        Supervisor(spec.directory).wait_ready(name, probe_of(spec, name))


@dataclass
class Pace:
    """How many events were read, and how many a second since the workers were up: `began` is when they joined.

    Counted from the first commit, it would leave out the time that the events of this commit took.
    """

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    is_up: bool = False

    def reached(self, done: int, is_up: bool) -> None:
        """Takes note of a look at the group: how much it has read, and whether a worker has joined it."""
        self.looked = time.monotonic()
        self.is_up = self.is_up or is_up or done > 0
        if not self.is_up:
            self.began = self.looked
        if done != self.done:
            self.done, self.moved = done, self.looked

    @property
    def per_second(self) -> float:
        seconds = self.looked - self.began
        return self.done / seconds if seconds > 0 else 0.0

    @property
    def line(self) -> str:
        """Promises nothing in the first second, which says little about the others."""
        read = f"{self.done:,} of {self.total:,} events"
        if not self.done or self.looked - self.began < SPEAKING_SECONDS:
            return read
        rest = (self.total - self.done) / self.per_second
        return f"{read}, {self.per_second:,.0f} a second, {rest:.0f} s to go"


async def wait_until_read(admin: AdminClient, group: str, plan: Plan) -> Pace:
    """Shows progress until the group has read the plan. Raises FanoutError if it stands still for too long."""
    pace = Pace(plan.total)
    with progress(console) as show:
        while pace.done < pace.total:
            done = plan.done(committed(admin, group))
            pace.reached(done, pace.is_up or bool(members(admin, group)))
            show(pace.line)
            if time.monotonic() - pace.moved > STILL_SECONDS:
                raise FanoutError(
                    f"{group} has stood still for {STILL_SECONDS:.0f} s at {pace.done} of {pace.total} events: "
                    f"fanout logs {group}-worker"
                )
            await asyncio.sleep(POLL_SECONDS if pace.done < pace.total else 0)
    return pace


@dataclass(frozen=True)
class Summary:
    """What a replay did. `events` were read, `seen` are those of types that the service subscribes to."""

    service: str
    rebuilt: bool
    since: datetime | None
    events: int
    seconds: float
    per_second: float
    seen: int
    ignored: int
    applied: int
    parked: int
    not_ignored: list[str]
    without_receipt: int

    @property
    def is_harmless(self) -> bool:
        return not self.not_ignored and not self.without_receipt

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.events:,} events read in {self.seconds:.1f} s, "
            f"{self.per_second:,.0f} a second once the workers were up"
        )
        if self.rebuilt:
            since = f" of what happened since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
            parked = f", {self.parked:,} parked" if self.parked else ""
            yield f"{self.service} is rebuilt{since}: {self.applied:,} events applied{parked}"
        else:
            new = self.applied + self.parked
            verdict = "nothing changed" if self.is_harmless else "something changed"
            yield f"{self.service} saw {self.seen:,} events and ignored {self.ignored:,}: {verdict}" + (
                f"; {new:,} were new" if new else ""
            )
        if self.not_ignored:
            yield (
                f"{self.service} did not ignore {len(self.not_ignored)} events that it had already processed, so its "
                f"inbox had lost them: {some(self.not_ignored)}; see fanout verify"
            )
        if self.without_receipt:
            yield (
                f"{self.service} applied {self.without_receipt} more than it has receipts for: "
                "some effects happened twice; see fanout verify"
            )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"is_harmless": self.is_harmless}
