"""`fanout recover`: finds events that Kafka has and a restored database lacks, and takes them over."""

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from chassis.service import load
from fanout.completion import service_names
from fanout.console import Json, counted, print_json, some
from fanout.errors import BadUsage
from fanout.local.stopped import KAFKA, down_by_process, require_started
from fanout.names import service_of
from fanout.recover.missing import Comparison, Missing, Servers
from fanout.recover.procedure import compared, readers, taken_over
from fanout.recover.take_over import require_recovery
from fanout.running import in_container, running

Name = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Whose database was restored.", autocompletion=service_names)
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what the database lacks.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def command(name: Name, dry_run: DryRun = False, yes: Yes = False, json_output: Json = False) -> None:
    """Find events that Kafka has and the outbox of a service lacks, as after its database was restored from a backup.

    Names their orders and, once you agree, takes them over: outbox rows, and what the service stores of them. Before
    its worker runs again: it would publish the same events a second time. docs/recovery.md has the whole procedure.
    Exit code 0 if nothing is lacking any more, 1 if something still is.

    Example: fanout recover payments --dry-run
    """
    addresses = running()
    service = load(service_of(name, sorted(addresses.databases)))
    require_started(KAFKA)
    servers = Servers(addresses.databases[service.name], addresses.broker, addresses.registry_url)
    found, taken = compared(service, servers), 0
    if not json_output:
        print(*_lines(service.name, found), sep="\n")
    if found.to_take_over and not dry_run:
        require_recovery(service, found.to_take_over)
        _require_stopped(service.name, readers(service, servers.broker))
        if yes or _is_confirmed(found):
            taken = taken_over(service, servers, found.to_take_over)
    if json_output:
        print_json(_as_json(service.name, found, taken))
    elif taken:
        start = _how_to_start(service.name)
        print(f"taken over: {counted(taken, 'event')}; now {start}; fanout verify --wait 60s")
    if found.said_again or len(found.to_take_over) > taken:
        raise typer.Exit(1)


def _require_stopped(service: str, readers: list[str]) -> None:
    """Raises BadUsage while a process of the service could change its database, and where the tool may not either."""
    ours = [name for name, is_down in _processes(service).items() if not is_down]
    if found := sorted({*ours, *readers}):
        how = "docker compose stop" if in_container() else "fanout stop"
        raise BadUsage(
            f"{', '.join(found)} would publish the same events again, so nothing was taken over: {how} "
            f"{' '.join(found)}, then try again"
        )
    if in_container():
        raise BadUsage(
            f"the operator may not write the tables of {service}: "
            f"docker compose run --rm setup fanout.compose.recover {service}"
        )


def _how_to_start(service: str) -> str:
    return f"fanout start {' '.join(name for name, is_down in _processes(service).items() if is_down)}"


def _processes(service: str) -> dict[str, bool]:
    """Returns the service's processes in the local stack, and whether each is down."""
    return {name: is_down for name, is_down in down_by_process().items() if name.startswith(f"{service}-")}


def _is_confirmed(found: Comparison) -> bool:
    """Asks at the terminal. Raises BadUsage where nobody can answer."""
    events = counted(len(found.to_take_over), "event")
    if not sys.stdin.isatty():
        raise BadUsage(f"nothing was changed: --yes takes {events} over")
    return typer.confirm(f"take {events} over?", err=True)


def _lines(service: str, found: Comparison) -> Iterator[str]:
    if not found.events:
        yield f"the outbox of {service} has every event of it that Kafka has"
        return
    if events := found.to_take_over:
        types = Counter(each.type for each in events)
        what = ", ".join(f"{name} {number}" for name, number in sorted(types.items()))
        first, last = min(each.at for each in events), max(each.at for each in events)
        yield (
            f"Kafka has {counted(len(events), 'event')} that the outbox of {service} lacks ({what}), "
            f"from {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC"
        )
        yield f"orders: {some(sorted({each.order_id for each in events}))}"
    if again := found.said_again:
        yield (
            f"{counted(len(again), 'event')} of {service} were published a second time under other ids, and cannot be "
            f"taken over: {some(sorted({f'{each.type} of {each.order_id}' for each in again}))}"
        )


def _as_json(service: str, found: Comparison, taken: int) -> dict[str, Any]:
    return {
        "service": service,
        "lacking": [_event(each) for each in found.to_take_over],
        "published_again": [_event(each) for each in found.said_again],
        "taken_over": taken,
    }


def _event(missing: Missing) -> dict[str, Any]:
    record = missing.record
    return {
        "event_id": missing.decoded.event_id,
        "type": missing.type,
        "order_id": missing.order_id,
        "version": missing.version,
        "partition": record.partition,
        "offset": record.offset,
        "at": missing.at,
    }
