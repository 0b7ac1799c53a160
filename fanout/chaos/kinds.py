"""The kinds of faults: what each does to which target, at which level and for how long, and what is expected of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fanout.errors import BadUsage, did_you_mean

TargetKind = Literal["", "process", "table", "service", "topic"]
Promise = Literal["taken", "answered", "none"]
"""What becomes of orders meanwhile: all are taken; each is taken or refused within a second; nothing is promised."""

PROMISES: dict[Promise, str] = {
    "taken": "orders are taken",
    "answered": "each order is taken or refused within a second",
    "none": "orders may go unanswered, and can be repeated",
}
TABLES = ("inbox", "outbox")
"""The tables of every service that a schedule locks."""


@dataclass(frozen=True, slots=True)
class Level:
    """`scheduled` is the range from which a schedule draws."""

    meaning: str
    default: int
    least: int
    most: int
    scheduled: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Kind:
    """`effect` completes the hypothesis, `with_containers` is what to type there; both may name {target}."""

    name: str
    what: str
    effect: str
    promise: Callable[[str], Promise]
    with_containers: str
    seconds: float = 10.0
    takes: TargetKind = ""
    target: str = ""
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it is ordered; `level` is 0 for a kind that has none."""

    kind: str
    target: str
    level: int
    seconds: float

    def __str__(self) -> str:
        level = f", level {self.level}" if KINDS[self.kind].level else ""
        return f"{' '.join(filter(None, (self.kind, self.target)))} for {self.seconds:g} s{level}"

    @property
    def promise(self) -> Promise:
        return KINDS[self.kind].promise(self.target)

    @property
    def hypothesis(self) -> str:
        effect = KINDS[self.kind].effect.format(target=self.target)
        return f"{PROMISES[self.promise]}; {effect}; nothing is lost or applied twice, nothing else is parked"


def _of_process(target: str) -> Promise:
    promises: dict[str, Promise] = {"orders-api": "none", "postgres": "answered"}
    return promises.get(target, "taken")


def _of_service(target: str) -> Promise:
    return "answered" if target.partition(".")[0] == "orders" else "taken"


_TYPE = "docker compose exec postgres psql -U postgres "
_DOWN = "docker compose stop {server}, after {{seconds}} s docker compose up --wait {server}"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "kill",
            "kill a process (SIGKILL)",
            "{target} is started again, and what it had in hand is done once",
            _of_process,
            "docker compose exec {target} sh -c 'kill -KILL -1'",
            seconds=5.0,
            takes="process",
            target="fraud-worker",
            level=Level("how often it is killed", 1, 1, 20, (1, 3)),
        ),
        Kind(
            "pause",
            "stop a process (SIGSTOP)",
            "{target} stands still and catches up",
            _of_process,
            "docker compose pause {target}, after {seconds} s docker compose unpause {target}",
            takes="process",
            target="fraud-worker",
        ),
        Kind(
            "slow",
            "stop a process twice a second",
            "{target} falls behind and catches up",
            _of_process,
            "docker update --cpus 0.1 $(docker compose ps -q {target}), later --cpus 0",
            takes="process",
            target="fraud-worker",
            level=Level("percent of the time that it is stopped", 90, 10, 99, (50, 95)),
        ),
        Kind(
            "broker-down",
            "stop Kafka and start it again",
            "events wait in the outboxes",
            lambda _: "taken",
            _DOWN.format(server="kafka"),
        ),
        Kind(
            "database-down",
            "stop Postgres and start it again",
            "everybody waits for Postgres",
            lambda _: "answered",
            _DOWN.format(server="postgres"),
            seconds=5.0,
        ),
        Kind(
            "registry-down",
            "stop the registry and start it again",
            "whoever runs has the schemas",
            lambda _: "taken",
            _DOWN.format(server="registry"),
        ),
        Kind(
            "lock",
            "lock a table (ACCESS EXCLUSIVE)",
            "whoever needs {target} waits",
            _of_service,
            _TYPE + "{service} -c 'BEGIN; LOCK TABLE {table}; SELECT pg_sleep({seconds}); COMMIT'",
            takes="table",
            target="fraud.inbox",
        ),
        Kind(
            "read-only",
            "make a database read-only",
            "{target} waits until it can write",
            _of_service,
            _TYPE
            + "-c 'ALTER DATABASE {target} SET default_transaction_read_only = on', restart its containers, "
            "after {seconds} s the same with RESET default_transaction_read_only",
            takes="service",
            target="fraud",
        ),
        Kind(
            "poison",
            "truncate a message, redrive it corrected",
            "it is parked, and nothing behind it waits",
            lambda _: "taken",
            "docker compose run --rm fanout poison, then fanout dlq redrive ID --correct FILE --why TEXT",
            seconds=5.0,
        ),
        Kind(
            "duplicate",
            "send the newest records again",
            "they are ignored, for the inboxes have them",
            lambda _: "taken",
            "docker compose kill fraud-worker, then docker compose up --wait fraud-worker: what it had is sent again",
            seconds=5.0,
            takes="topic",
            target="orders",
            level=Level("how many records", 100, 1, 10_000, (20, 200)),
        ),
        Kind(
            "freeze-all",
            "stop every process (SIGSTOP)",
            "everything stands still and goes on",
            lambda _: "none",
            "docker compose pause, after {seconds} s docker compose unpause",
            seconds=5.0,
        ),
    )
}


def kind_named(name: str) -> Kind:
    """Raises BadUsage for a name that no kind has."""
    if name not in KINDS:
        raise BadUsage(f"no fault {name}{did_you_mean(name, list(KINDS))}; there are {', '.join(KINDS)}")
    return KINDS[name]


def with_containers(fault: Fault) -> str:
    """Returns what to type to cause the fault in containers."""
    service, _, table = fault.target.partition(".")
    text = KINDS[fault.kind].with_containers
    return text.format(
        target=fault.target, service=service, table=table or "inbox", seconds=f"{fault.seconds:g}"
    )
