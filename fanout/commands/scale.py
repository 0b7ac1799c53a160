"""`fanout scale`: how many workers share a service's partitions."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fanout.console import say
from fanout.errors import BadUsage, UnknownService

if TYPE_CHECKING:
    from fanout.local.topology import StackSpec

MOST_WORKERS = 16


def command(
    service: Annotated[str, typer.Argument(help="A service, as its folder is called.", show_default=False)],
    workers: Annotated[
        int | None, typer.Argument(help="How many workers it should have; default: only show them.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Run as many workers of one service as you say, and show which partitions each of them reads.

    They are one consumer group: Kafka shares the partitions out again, and nothing is lost or doubled on the way.
    The number is kept when the stack is stopped.

    Example: fanout scale inventory 3
    """
    from fanout import kafka_admin
    from fanout.local.topology import StackSpec
    from fanout.scale.group import settled, shares
    from fanout.scale.report import lines

    spec = StackSpec.of_running()
    if service not in spec.services:
        raise UnknownService(service, spec.services)
    admin = kafka_admin.admin(spec.ports)
    if workers is None:
        found = shares(admin, service)
    else:
        spec = _change(spec, service, workers)
        found = settled(admin, service, spec.workers[service])
    if as_json:
        print(json.dumps({"service": service, "workers": [asdict(share) for share in found]}, indent=2))
        return
    for line in lines(found, spec.workers[service]):
        print(line)


def _change(spec: "StackSpec", service: str, count: int) -> "StackSpec":
    from fanout.scale.workers import change

    if not 1 <= count <= MOST_WORKERS:
        raise BadUsage(f"{service} can have 1 to {MOST_WORKERS} workers, not {count}")
    with spec.directory.locked():
        changed = change(spec, service, count)
    say(f"{service} has {count} {'worker' if count == 1 else 'workers'}")
    return changed
