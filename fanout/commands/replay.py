"""`fanout replay`: lets a service read its history once more."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from fanout.completion import service_names
from fanout.console import Json, print_json
from fanout.durations import timestamp
from fanout.errors import BadUsage, Unreachable
from fanout.names import service_of

From = Annotated[
    datetime | None, typer.Option("--from", parser=timestamp, metavar="TIME", help="2h, 30m, or ISO 8601.")
]
Rebuild = Annotated[
    bool, typer.Option("--rebuild", help="Empty its tables and read from the beginning: read models only.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Rebuild from where Kafka's history is complete.")]


def command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="A service.", show_default=False, autocompletion=service_names
        ),
    ],
    since: From = None,
    rebuild: Rebuild = False,
    yes: Yes = False,
    json_output: Json = False,
) -> None:
    """Stop a service's workers, move its group back to the beginning or to a time, and let it read again.

    A read model, Service(..., read_model=True), is cleared and rebuilt, as after a change of its tables. Any other
    service ignores the events it has processed: nothing happens twice, no e-mail is sent again; exit 1 if that turns
    out not to be so; with --rebuild it is refused. After an interrupt the workers run and go on.

    In a container: stop the workers first, start them afterwards (docker compose stop, docker compose start).

    Example: fanout replay analytics --rebuild
    """
    from confluent_kafka import KafkaException

    from chassis.service import load
    from fanout.local.stopped import KAFKA, require_started
    from fanout.replay.plan import require_history, require_read_model
    from fanout.replay.replay import Asked, replay, rewind
    from fanout.repository import services
    from fanout.running import in_container, running

    if rebuild and since:
        raise BadUsage("--rebuild reads from the beginning: leave out --from")
    addresses = running()
    service = service_of(name, services())
    if service not in addresses.databases:
        raise BadUsage(f"{service} is not part of the running stack yet: fanout up, then try again")
    loaded, asked = load(service), Asked(since, yes)
    require_history(loaded)
    if rebuild:
        require_read_model(loaded)
    require_started(KAFKA)
    try:
        if in_container():
            events = asyncio.run(rewind(loaded, addresses, asked))
            print(f"{service} will read {events:,} events again: docker compose start {service}-worker")
            return
        from fanout.local.topology import StackSpec

        summary = asyncio.run(replay(StackSpec.of_running(), loaded, addresses, asked))
    except KafkaException as error:
        raise Unreachable("Kafka", addresses.kafka) from error
    if json_output:
        print_json(summary.as_json())
    else:
        print(*summary.lines(), sep="\n")
    if not summary.is_harmless:
        raise typer.Exit(1)
