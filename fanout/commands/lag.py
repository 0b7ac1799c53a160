"""`fanout lag`: messages and seconds behind, per group and topic, and the rows that each relay has still to send."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, Group
from rich.live import Live

from fanout.completion import service_names
from fanout.console import Json, print_json
from fanout.databases import Databases, held_partitions, ignored_events
from fanout.durations import seconds
from fanout.errors import BadUsage, FanoutError, NotRunning
from fanout.lag import slo
from fanout.lag import table as tables
from fanout.lag.measure import KAFKA, LagMeter, Measurement
from fanout.lag.services import Outbox
from fanout.lag.slo import Judgement
from fanout.lag.verdicts import GroupLag
from fanout.names import service_of
from fanout.running import Addresses, running

GOAL = "30s"
TREND_SECONDS = 1.5
"""Between the two measurements of a single look, which are taken if something waits longer than that."""

Name = Annotated[
    str | None,
    typer.Argument(metavar="[SERVICE]", help="Only this one; default: all.", autocompletion=service_names),
]
Watch = Annotated[bool, typer.Option("--watch", help="Measure again and again, until Ctrl-C.")]
Every = Annotated[float, typer.Option(parser=seconds, metavar="SPAN", help="How often --watch measures.")]
Slo = Annotated[bool, typer.Option("--slo", help="Exit code 1 if a service is further behind than --within.")]
Within = Annotated[float, typer.Option(parser=seconds, metavar="SPAN", help="The goal of --slo.")]


@dataclass(frozen=True)
class View:
    """What is shown of one measurement: all, or one service."""

    groups: Sequence[GroupLag]
    outboxes: Sequence[Outbox]
    errors: Sequence[FanoutError]


def command(
    name: Name = None,
    watch: Watch = False,
    every: Every = "2s",  # type: ignore[assignment]
    check_slo: Slo = False,
    within: Within = GOAL,  # type: ignore[assignment]
    json_output: Json = False,
) -> None:
    """Show how far each group and relay is behind, per topic, and a verdict. Needs no worker to be alive.

    Seconds are the age of the oldest message that is not processed; headroom is the time until Kafka may delete it;
    the trend is in messages a second, below 0 when the group catches up. A group that reads events but belongs to no
    service is shown as outside. In a partition where it has committed no offset, it counts as being at the start.

    With --slo, exit code 0 if every service is within the goal, 1 if one is beyond it or loses data, 2 if nobody can
    tell. With --watch and --json, one line for each measurement.

    Example: fanout lag --slo --within 10s
    """
    try:
        addresses = running()
    except NotRunning as error:
        if check_slo:
            _end(Judgement(slo.UNKNOWN, f"cannot tell: {error}"), within, json_output)
        raise
    service = None if name is None else service_of(name, sorted(addresses.databases))
    if watch and check_slo:
        raise BadUsage(
            "--watch and --slo exclude each other: --watch never ends, so that it has no exit code"
        )
    if watch:
        try:
            asyncio.run(_watch(addresses, service, every, json_output))
        except KeyboardInterrupt:
            return
    measured = asyncio.run(_measured(addresses, with_outside=service is None))
    view = view_of(measured, service)
    if check_slo:
        _end(judged(view, within), within, json_output)
    _show(view, addresses, json_output)
    if view.errors:
        raise view.errors[0]


def view_of(measured: Measurement, service: str | None) -> View:
    """Leaves out, of all errors, those that do not concern the service."""
    wanted = [each for each in measured.services if service in (None, each.service)]
    errors = {
        source: each
        for source, each in measured.errors.items()
        if service in (None, source) or source == KAFKA
    }
    return View(
        [each for each in measured.groups if service in (None, each.group)],
        [each.outbox for each in wanted],
        [errors[source] for source in sorted(errors, key=lambda source: (source == KAFKA, source))],
    )


async def _measured(addresses: Addresses, with_outside: bool) -> Measurement:
    """Measures twice if something waits, because a trend needs two measurements."""
    async with LagMeter(addresses.broker, addresses.databases) as meter:
        measured = await meter.measure(with_outside)
        if any((group.seconds or 0.0) > TREND_SECONDS for group in measured.groups):
            await asyncio.sleep(TREND_SECONDS)
            measured = await meter.measure(with_outside)
        return measured


def judged(view: View, goal_seconds: float) -> Judgement:
    """Judges the services; groups of no service have made no promise."""
    if view.errors:
        return Judgement(slo.UNKNOWN, f"cannot tell: {view.errors[0]}")
    return slo.judged([each for each in view.groups if not each.outside], goal_seconds)


def _end(judgement: Judgement, goal_seconds: float, json_output: bool) -> NoReturn:
    """Ends the process with the exit code of `--slo`."""
    if json_output:
        words = {slo.WITHIN: "within", slo.BEYOND: "beyond", slo.UNKNOWN: "unknown"}
        found = {
            "slo": words[judgement.exit_code],
            "within_seconds": goal_seconds,
            "sentence": judgement.sentence,
        }
        print_json(found)
    else:
        print(judgement.sentence)
    raise typer.Exit(judgement.exit_code)


def _show(view: View, addresses: Addresses, json_output: bool) -> None:
    answering = {each.service: addresses.databases[each.service] for each in view.outboxes}
    held, ignored = asyncio.run(_sentences(answering))
    if json_output:
        found = tables.document(view.groups, view.outboxes)
        print_json(found | {"held_partitions": held, "ignored_events": ignored})
        return
    Console().print(_tables(view, view.outboxes))
    for sentence in [*tables.unreadable(view.groups), *tables.lost(view.groups), *held, *ignored]:
        print(sentence)


async def _sentences(databases: Databases) -> tuple[list[str], list[str]]:
    return await held_partitions(databases), await ignored_events(databases)


def _tables(view: View, outboxes: Sequence[Outbox]) -> Group:
    found = [tables.of_groups(view.groups)] if view.groups else []
    return Group(*found, *([tables.of_relays(outboxes)] if outboxes else []))


async def _watch(addresses: Addresses, service: str | None, every: float, json_output: bool) -> None:
    console = Console()
    async with LagMeter(addresses.broker, addresses.databases) as meter:
        if json_output or not console.is_terminal:
            while True:
                view = view_of(await meter.measure(service is None), service)
                print(json.dumps(_document(view)), flush=True) if json_output else console.print(_live(view))
                await asyncio.sleep(every)
        with Live(console=console, auto_refresh=False, screen=False) as live:
            while True:
                live.update(_live(view_of(await meter.measure(service is None), service)), refresh=True)
                await asyncio.sleep(every)


def _live(view: View) -> Group:
    """Leaves out relays that have sent everything, so that a small terminal has room for the rest."""
    busy = [each for each in view.outboxes if each.unsent or each.set_aside]
    below = [*tables.unreadable(view.groups), *tables.lost(view.groups), *map(str, view.errors)]
    return Group(_tables(view, busy), *below)


def _document(view: View) -> dict[str, Any]:
    return tables.document(view.groups, view.outboxes) | {"errors": list(map(str, view.errors))}
