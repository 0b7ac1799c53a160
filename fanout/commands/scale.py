"""`fanout scale`: how many workers share a service's partitions, and which worker reads which."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated

import typer
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._group import ConsumerGroupDescription

from fanout import kafka_admin
from fanout.completion import service_names
from fanout.console import Json, counted, print_json, say
from fanout.errors import BadUsage, FanoutError
from fanout.local import ports
from fanout.local.start import probe_of, reshape
from fanout.local.supervisor import Supervisor
from fanout.local.topology import StackSpec
from fanout.names import service_of

MOST_WORKERS = 16
SETTLE_SECONDS = 60
POLL_SECONDS = 0.2
IDLE = "idle: more workers than partitions"
ABSENT = "not in the group: fanout status"


@dataclass(frozen=True)
class Share:
    """The partitions of each topic that one worker reads."""

    worker: str
    topics: dict[str, list[int]] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [f"{topic} {','.join(map(str, partitions))}" for topic, partitions in self.topics.items()]
        return " · ".join(parts) or IDLE


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="A service.", show_default=False, autocompletion=service_names
        ),
    ],
    workers: Annotated[
        int | None, typer.Argument(help="How many workers it should have; default: only show them.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Run as many workers of one service as you say, and show which partitions each of them reads.

    They are one consumer group: Kafka distributes the partitions again, and no event is lost or applied twice.
    The number is kept when the stack is stopped.

    Example: fanout scale inventory 3
    """
    spec = StackSpec.of_running()
    service = service_of(name, spec.services)
    admin = kafka_admin.admin(spec.ports)
    if workers is None:
        found = _shares(kafka_admin.described(admin, service))
    else:
        spec = _change(spec, service, workers)
        say(f"{service} has {counted(workers, 'worker')}")
        found = _settled(admin, service, spec.workers[service])
    if json_output:
        print_json({"service": service, "workers": [asdict(share) for share in found]})
    else:
        print(*lines(found, spec.workers[service]), sep="\n")


def _change(spec: StackSpec, service: str, count: int) -> StackSpec:
    """Starts or drains workers until there are `count`, and waits until they are ready; starts stopped ones too."""
    if not 1 <= count <= MOST_WORKERS:
        raise BadUsage(f"{service} can have 1 to {MOST_WORKERS} workers, not {count}")
    with spec.directory.locked():
        ports.set_count(spec.directory, service, count)
        changed = StackSpec.build(spec.directory, spec.ports)
        supervisor = Supervisor(spec.directory)
        reshape(supervisor, changed)
        for name in changed.workers[service]:
            supervisor.start(name)
        for name in changed.workers[service]:
            supervisor.wait_ready(name, probe_of(changed, name))
    return changed


def _settled(admin: AdminClient, group: str, workers: list[str]) -> list[Share]:
    """Waits until exactly these workers are in the group and every partition is assigned."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        described = kafka_admin.described(admin, group)
        members = sorted(member.client_id for member in described.members)
        if described.state == ConsumerGroupState.STABLE and members == sorted(workers):
            return _shares(described)
        if time.monotonic() > deadline:
            raise FanoutError(
                f"group {group} has not settled after {SETTLE_SECONDS} s, it has {len(members)} of {len(workers)} "
                "workers: fanout status"
            )
        time.sleep(POLL_SECONDS)


def _shares(described: ConsumerGroupDescription) -> list[Share]:
    """Returns each worker's share as it is now; during a rebalance all are empty."""
    found = []
    for member in described.members:
        topics: dict[str, list[int]] = {}
        for place in sorted(member.assignment.topic_partitions, key=lambda it: (it.topic, it.partition)):
            topics.setdefault(place.topic, []).append(place.partition)
        found.append(Share(member.client_id, topics))
    return sorted(found, key=lambda share: (len(share.worker), share.worker))


def lines(shares: Sequence[Share], workers: Sequence[str]) -> Iterator[str]:
    """`workers` are those that should be in the group; one that is not, or that is unknown here, is shown too."""
    shown = {share.worker: str(share) for share in shares}
    names = [*workers, *(name for name in shown if name not in workers)]
    width = max(map(len, names))
    return (f"{name:<{width}}  {shown.get(name, ABSENT)}" for name in names)
