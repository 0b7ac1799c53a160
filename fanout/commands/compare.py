"""`fanout compare`: the same payments with a synchronous service and with this system, one right after the other."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.text import Text

from fanout.compare.code_size import Size, sizes
from fanout.compare.conditions import Level, levels, listeners
from fanout.compare.experiments import Tell, interval, over_levels, over_listeners
from fanout.compare.report import LISTENERS, MAIL_SERVER, Headings, as_json, ratios, report, span, svg
from fanout.compare.samples import SIDES, Row
from fanout.compare.setting import Setting, setting
from fanout.console import Json, console, print_json, progress, say, table
from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.local.mail_fault import MailState

DEFAULT_DELAYS = "5ms,750ms,stopped"
ONE_CONSUMER = "5ms"
PAIRS_OF_LEVELS = 14
PAIRS_OF_LISTENERS = 8
DEFAULT_TAKES = 0.05
LONGEST_TAKES = 1.0
"""Seconds of a listener; the notifier of the synchronous service waits 1.5 s for the mail server."""
START_SECONDS = 12

Delays = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help=f"How long the mail server takes for a mail, or stopped; {DEFAULT_DELAYS}."
    ),
]
Consumers = Annotated[
    str | None, typer.Option(metavar="RANGE", help="Compare with so many listeners instead, such as 1..6.")
]
Takes = Annotated[
    float | None,
    typer.Option(
        parser=seconds, metavar="SPAN", help="With --consumers: what each takes for a payment; 50ms."
    ),
]
OneConsumer = Annotated[
    bool, typer.Option("--one-consumer", help="Show when a plain call is the better answer.")
]
Pairs = Annotated[int | None, typer.Option(min=2, max=1_000, help="Payments under each condition.")]
IgnoreFailures = Annotated[
    bool,
    typer.Option(
        "--ignore-failures", help="Let the synchronous service accept and log what its notifier failed at."
    ),
]
Picture = Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw it in FILE, too.")]


@dataclass(frozen=True, slots=True)
class Result:
    """What to print; `sizes` and `ratios` only where they are part of the question."""

    rows: Sequence[Row]
    headings: Headings
    sentences: Sequence[str]
    ratios: dict[str, Any] = field(default_factory=dict)
    sizes: Sequence[Size] = ()

    def printed(self, wraps: bool) -> Group:
        figures = report(self.rows, self.headings, self.sentences, wraps)
        if not self.sizes:
            return figures
        rows = [(each.what, each.synchronous, each.events) for each in self.sizes]
        return Group(figures, Text(), table(["what it takes", *SIDES], rows))


def command(
    delays: Delays = None,
    consumers: Consumers = None,
    takes: Takes = None,
    one_consumer: OneConsumer = False,
    pairs: Pairs = None,
    ignore_failures: IgnoreFailures = False,
    picture: Picture = None,
    json_output: Json = False,
) -> None:
    """Pay the same invoices at a service that calls its notifier before it answers, and here, with events.

    The synchronous service is examples/synchronous, run for this with a database of its own. Both sides mail the
    customer over the mail server of the stack, which is slow meanwhile, or refuses: also for everybody else. It is as
    before when the command ends, and six seconds after it was killed. The orders are real and stay. --json has seconds.

    Example: fanout compare
    Example: fanout compare --delays 5ms,100ms,1s --pairs 50 --svg compare.svg
    Example: fanout compare --consumers 1..6
    Example: fanout compare --one-consumer
    """
    if sum([delays is not None, consumers is not None, one_consumer]) > 1:
        raise BadUsage("--delays, --consumers and --one-consumer exclude each other: give one of them")
    each_takes = DEFAULT_TAKES if takes is None else takes
    if each_takes > LONGEST_TAKES:
        raise BadUsage(f"--takes is at most {LONGEST_TAKES:.0f} s: the synchronous service waits no longer")
    _require_writable(picture)
    if consumers is not None:
        chosen, count = listeners(consumers), pairs or PAIRS_OF_LISTENERS
        estimate = sum((count + 1) * interval(MailState(each_takes), each) + 4 for each in chosen)
    else:
        wanted = levels(ONE_CONSUMER if one_consumer else delays or DEFAULT_DELAYS)
        count = pairs or PAIRS_OF_LEVELS
        estimate = sum((count + 2) * interval(level.state) for level in wanted)

    def measure(used: Setting, tell: Tell) -> Result:
        if consumers is not None:
            return _of_listeners(asyncio.run(over_listeners(used, chosen, each_takes, count, tell)))
        rows = asyncio.run(over_levels(used, wanted, count, tell))
        return _of_one_consumer(rows) if one_consumer else _of_levels(rows, wanted)

    try:
        with setting(ignore_failures) as used:
            rounds = "" if consumers is not None else ", in two rounds"
            say(
                f"{count} payments at each side under each condition{rounds}; takes about "
                f"{START_SECONDS + estimate:.0f} s, Ctrl-C ends it"
            )
            with progress(console) as tell:
                result = measure(used, tell)
    except KeyboardInterrupt:
        say("stopped: the mail server is as it was before, and nothing of the comparison still runs")
        raise
    _show(result, picture, json_output)


def _of_levels(rows: Sequence[Row], chosen: Sequence[Level]) -> Result:
    timed = [level.name for level in chosen if not level.state.is_stopped]
    sentences, found = [], {}
    if len(timed) > 1:
        found = {f"{timed[-1]} / {timed[0]}": ratios(rows, timed[-1], timed[0])}
        sentences = [_ratio(f"mail server at {timed[-1]} ÷ at {timed[0]}", *found.values())]
    return Result(rows, MAIL_SERVER, [*sentences, *_losses(rows)], found)


def _of_listeners(rows: Sequence[Row]) -> Result:
    first, last = rows[0].condition, rows[-1].condition
    found = {f"{last} / {first}": ratios(rows, last, first)} if first != last else {}
    sentences = [_ratio(f"{last} listeners ÷ {first}", each) for each in found.values()]
    return Result(rows, LISTENERS, [*sentences, *_losses(rows)], found)


def _of_one_consumer(rows: Sequence[Row]) -> Result:
    call, events = (row.figures.effect_p50 for row in rows)
    sentence = (
        f"one consumer, and it is well: the mail is out {span(call)} after a call, {span(events)} after an event; the "
        "call is also less to write, to run and to know"
    )
    return Result(rows, MAIL_SERVER, [sentence], sizes=sizes())


def _ratio(condition: str, found: dict[Any, float]) -> str:
    each = ", ".join(f"{side} {value:.2f}" for side, value in found.items())
    return f"median answer, {condition}: {each}"


def _losses(rows: Sequence[Row]) -> list[str]:
    """Returns a sentence for each side that refused payments, and for each whose accepted ones had no effect."""
    found = []
    for side in SIDES:
        mine = [row.figures for row in rows if row.side == side]
        payments, accepted = sum(each.payments for each in mine), sum(each.accepted for each in mine)
        missing = sum(max(each.accepted - each.effects, 0) for each in mine)
        if accepted < payments:
            found.append(
                f"{side}: {payments - accepted} of {payments} payments refused; their customers have to ask again"
            )
        if missing:
            found.append(f"{side}: nothing came of {missing} accepted payments in the time of this run")
    return found


def _show(result: Result, picture: Path | None, json_output: bool) -> None:
    if picture:
        picture.write_text(svg(result.printed(wraps=True), "fanout compare"), encoding="utf-8")
    if json_output:
        print_json(
            as_json(
                result.rows, {"ratios": result.ratios, "sizes": [each.as_json() for each in result.sizes]}
            )
        )
        return
    out = Console(highlight=False)
    out.print(result.printed(wraps=out.is_terminal), crop=False)
    if picture:
        say(f"the picture is in {picture}")


def _require_writable(picture: Path | None) -> None:
    if picture is None:
        return
    folder = picture.absolute().parent
    place = picture if picture.exists() else folder
    if picture.is_dir() or not os.access(place, os.W_OK):
        raise BadUsage(
            f"{picture} cannot be written: name a file in a folder that exists and that you may write to"
        )
