"""`fanout replay`: lets a service read its history once more."""

import asyncio
import json
from datetime import datetime
from typing import Annotated

import typer

from fanout.durations import moment
from fanout.errors import BadUsage, UnknownService, Unreachable

From = Annotated[
    datetime | None,
    typer.Option(
        "--from", parser=moment, metavar="TIME", help="Only from then on: 2h, 30m, 2026-03-01T12:00:00Z."
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="Rebuild a read model though Kafka has forgotten the beginning.")
]


def command(
    service: Annotated[str, typer.Argument(help="A service, as its folder is called.", show_default=False)],
    since: From = None,
    yes: Yes = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")] = False,
) -> None:
    """Stop a service's workers, move its group back to the beginning or to a time, and let it read again.

    A read model is cleared and rebuilt. Any other service ignores what it has had: nothing happens twice, no
    e-mail is sent again; exit 1 if that turns out not to be so. Interrupted, the workers run and go on by themselves.
    With containers, stop the workers before and start them after: docker compose stop analytics-worker.

    Example: fanout replay analytics
    """
    from confluent_kafka import KafkaException

    from chassis.service import load
    from fanout.replay import report
    from fanout.replay.plan import require_history
    from fanout.replay.replay import Asked, replay, rewind
    from fanout.repository import services
    from fanout.running import in_container, running

    addresses = running()
    if service not in services():
        raise UnknownService(service, services())
    if service not in addresses.databases:
        raise BadUsage(f"{service} is not part of the running stack yet: fanout up, then try again")
    loaded = load(service)
    require_history(loaded)
    try:
        if in_container():
            asyncio.run(rewind(loaded, addresses, Asked(since, yes), f"docker compose stop {service}-worker"))
            print(
                f"{service} reads its history again once it is started: docker compose start {service}-worker"
            )
            return
        from fanout.local.topology import StackSpec
        from fanout.replay.workers import Workers

        summary = asyncio.run(replay(Workers(StackSpec.of_running()), loaded, addresses, Asked(since, yes)))
    except KafkaException as error:
        raise Unreachable("Kafka", addresses.kafka) from error
    if as_json:
        print(json.dumps(report.as_json(summary), indent=2))
    else:
        print(*report.lines(summary), sep="\n")
    if not summary.is_harmless:
        raise typer.Exit(1)
