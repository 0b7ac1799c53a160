"""`fanout recover`: finds events that Kafka has and a restored database lacks, and takes them over."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from confluent_kafka import KafkaException

from chassis.service import Service, load
from fanout.completion import service_names
from fanout.console import Json, console, counted, print_json, progress, some
from fanout.errors import BadUsage, Unreachable
from fanout.kafka_admin import admin_of, members
from fanout.local.stopped import KAFKA, down_by_process, require_started
from fanout.names import service_of
from fanout.recover.missing import Comparison, Missing, compare
from fanout.recover.take_over import require_recovery, take_over
from fanout.running import Addresses, in_container, running

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
    topic = _topic(service)
    require_started(KAFKA)
    found = _compare(service.name, topic, addresses)
    taken_over = 0
    if found.to_take_over and not dry_run:
        if not json_output:
            print(*_lines(service.name, found), sep="\n")
        require_recovery(service, found.to_take_over)
        _require_stopped(service.name, addresses)
        if yes or _is_confirmed(found):
            _take_over(service, addresses, found.to_take_over)
            taken_over = len(found.to_take_over)
    if json_output:
        print_json(_as_json(service.name, found, taken_over))
    elif taken_over:
        print(
            f"taken over: {counted(taken_over, 'event')}; now {_how_to_start(service.name)}, "
            "and fanout verify --wait 60s"
        )
    elif dry_run or not found.to_take_over:
        print(*_lines(service.name, found), sep="\n")
    if found.said_again or len(found.to_take_over) > taken_over:
        raise typer.Exit(1)


def _topic(service: Service) -> str:
    if service.topic is None:
        raise BadUsage(
            f"{service.name} publishes no events: a worker whose database was restored reads by itself what it lacks"
        )
    return service.topic


def _compare(service: str, topic: str, addresses: Addresses) -> Comparison:
    with progress(console) as tell:
        return asyncio.run(
            compare(
                service,
                topic,
                addresses,
                progress=lambda done, total: tell(f"read {done:,} of {total:,} records"),
            )
        )


def _require_stopped(service: str, addresses: Addresses) -> None:
    """Raises BadUsage while a process of the service could change its database meanwhile."""
    try:
        group = members(admin_of(addresses.broker), service)
    except KafkaException as error:
        raise Unreachable("Kafka", addresses.kafka) from error
    ours = [
        name for name, is_down in down_by_process().items() if name.startswith(f"{service}-") and not is_down
    ]
    if found := sorted({*ours, *group}):
        how = "docker compose stop" if in_container() else "fanout stop"
        raise BadUsage(
            f"{', '.join(found)} would publish the same events again, so nothing was taken over: {how} "
            f"{' '.join(found)}, then try again"
        )


def _how_to_start(service: str) -> str:
    stopped = [
        name for name, is_down in down_by_process().items() if name.startswith(f"{service}-") and is_down
    ]
    return (
        f"fanout start {' '.join(stopped)}"
        if stopped
        else f"docker compose start {service}-worker {service}-api"
    )


def _is_confirmed(found: Comparison) -> bool:
    """Asks at the terminal. Raises BadUsage where nobody can answer."""
    events = counted(len(found.to_take_over), "event")
    if not sys.stdin.isatty():
        raise BadUsage(f"nothing was changed: --yes takes {events} over")
    return typer.confirm(f"take {events} over?", err=True)


def _take_over(service: Service, addresses: Addresses, events: Sequence[Missing]) -> None:
    url = addresses.databases[service.name]
    with progress(console) as tell:
        asyncio.run(
            take_over(
                service,
                url,
                addresses.registry_url,
                events,
                lambda done: tell(f"took over {done:,} of {len(events):,} events"),
            )
        )


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


def _as_json(service: str, found: Comparison, taken_over: int) -> dict[str, Any]:
    return {
        "service": service,
        "lacking": [_event(each) for each in found.to_take_over],
        "published_again": [_event(each) for each in found.said_again],
        "taken_over": taken_over,
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
