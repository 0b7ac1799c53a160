"""`fanout chaos`: one fault by name, or many on a seeded schedule under load, and whether everything held."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fanout.chaos.kinds import KINDS, TABLES, Fault, Kind, TargetKind, with_containers
from fanout.chaos.schedule import Targets, schedule
from fanout.commands.load import MOST_ORDERS
from fanout.console import Json, console, print_json, progress, say, table
from fanout.durations import seconds
from fanout.errors import BadUsage, did_you_mean
from fanout.names import process_of, service_of
from fanout.repository import services
from fanout.running import in_container, running
from schemas import EVENTS

LONGEST_SECONDS = 600.0
VIOLATED, INVALID = 1, 4
TARGETS: dict[TargetKind, str] = {
    "": "",
    "process": "A process as fanout status names it; fraud is fraud-worker.",
    "service": "A service.",
    "table": f"SERVICE.TABLE; {TABLES[0]} if only the service is given.",
    "topic": "A topic of events.",
}

Orders = Annotated[int | None, typer.Option(min=1, max=MOST_ORDERS, help="How many orders; or give --for.")]
Span = Annotated[
    float | None, typer.Option("--for", parser=seconds, metavar="SPAN", help="How long to order.")
]
Rate = Annotated[float, typer.Option(min=0.1, max=500, help="Orders per second.")]
FaultCount = Annotated[int, typer.Option("--faults", min=1, max=10_000, help="How many faults.")]
Seed = Annotated[int, typer.Option(help="The same seed causes the same faults, and buys the same things.")]
ReportPath = Annotated[
    Path | None, typer.Option("--report", metavar="PATH", help="Write PATH.md and PATH.json.")
]

command = typer.Typer(
    no_args_is_help=True, help="Cause faults that end by themselves, and judge what they did."
)


@command.command()
def ls(json_output: Json = False) -> None:
    """List the faults with their usual target, level and duration; in a container, with what to type instead.

    Example: fanout chaos ls
    """
    kinds = list(KINDS.values())
    if json_output:
        print_json([_described(kind) for kind in kinds])
        return
    rows = [(each.name, each.target or "-", _level(each), f"{each.seconds:g} s", each.what) for each in kinds]
    headings = ("fault", "target", ">level", ">for", "what")
    Console(highlight=False).print(table(headings, rows, unbroken=("fault", "target", "for")))
    if in_container():
        for kind in kinds:
            print(f"{kind.name}: {with_containers(usual(kind))}")


def usual(kind: Kind) -> Fault:
    return Fault(kind.name, kind.target, kind.level.default if kind.level else 0, kind.seconds)


def _described(kind: Kind) -> dict[str, object]:
    more = {"what": kind.what, "level_is": kind.level.meaning if kind.level else None}
    return {**asdict(usual(kind)), **more, "hypothesis": usual(kind).hypothesis}


def _level(kind: Kind) -> str:
    return str(kind.level.default) if kind.level else "-"


@command.command("run")
def run_command(
    orders: Orders = None,
    span: Span = None,
    rate: Rate = 10.0,
    fault_count: FaultCount = 40,
    seed: Seed = 1,
    path: ReportPath = None,
    json_output: Json = False,
) -> None:
    """Place orders while faults come on a seeded schedule; ask the ledger every 10 s, and both judges at the end.

    Customers repeat what fails, so every order has to be taken in the end. Exit code 0 if everything held, 1 if
    something was violated, 4 if the run is invalid because nothing bit: no redelivery, rebalance or unknown answer.

    Example: fanout chaos run --orders 200 --rate 10 --faults 10 --seed 1
    Example: fanout chaos run --for 10m --rate 20 --faults 100 --report reports/seed-1
    """
    if in_container():
        raise BadUsage(
            "fanout chaos run is for the local stack: run it where the repository is, after make up"
        )
    if (orders is None) == (span is None):
        raise BadUsage("how many orders? give --orders or --for, and not both")
    from fanout.chaos import report, run

    count = orders or max(round((span or 0) * rate), 1)
    if count > MOST_ORDERS:
        raise BadUsage(f"that is {count:,} orders, and one run places at most {MOST_ORDERS:,}: write less")
    addresses, header = running(), report.header(seed, count, rate, fault_count)
    plan = schedule(seed, fault_count, count / rate, _targets())
    with _said_if_interrupted(), progress(console) as tell:
        done = asyncio.run(run.run(addresses, plan, count, rate, seed, tell))
    if path:
        report.write(header, done, path)
    if json_output:
        print_json(report.as_json(header, done))
    else:
        print(*report.page(header, done), sep="\n")
    if done.verdict != "held":
        raise typer.Exit(VIOLATED if done.verdict == "violated" else INVALID)


def _targets() -> Targets:
    """Returns what the running stack has."""
    from fanout.chaos.processes import all_names

    return Targets(all_names(), services(), sorted({event.TOPIC for event in EVENTS}))


def cause(fault: Fault, json_output: bool) -> None:
    """Says what is expected of a fault, causes it, and says what came of that."""
    if in_container():
        remedy = with_containers(fault)
        raise BadUsage(f"fanout chaos causes faults in the local stack only; with containers: {remedy}")
    from fanout.chaos.experiment import experiment

    addresses = running()
    say(f"{fault}: {fault.hypothesis}")
    with _said_if_interrupted(), progress(console) as tell:
        done = asyncio.run(experiment(addresses, fault, tell))
    if json_output:
        print_json(done.as_json())
    else:
        print(*done.orders.lines(), done.conclusion, sep="\n")
    if done.violations:
        raise typer.Exit(VIOLATED)


@contextmanager
def _said_if_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("stopped: what was broken is undone; fanout verify --wait 60s shows how the orders end")
        raise


def _add(kind: Kind) -> None:
    """Makes the command `fanout chaos KIND`; its help shows a target and a level only if the fault has one."""
    level, takes_level, takes_target = kind.level, kind.level is not None, bool(kind.takes)
    levels = f"{level.meaning}, {level.least} to {level.most}; {level.default}." if level else ""

    def cause_it(
        target: Annotated[
            str | None, typer.Argument(help=TARGETS[kind.takes], show_default=False, hidden=not takes_target)
        ] = None,
        level: Annotated[
            int | None, typer.Option("--level", help=levels.capitalize(), hidden=not takes_level)
        ] = None,
        span: Annotated[
            float | None,
            typer.Option("--for", parser=seconds, metavar="SPAN", help=f"How long; {kind.seconds:g}s."),
        ] = None,
        json_output: Json = False,
    ) -> None:
        cause(fault_of(kind, target, level, span), json_output)

    example = " ".join(filter(None, (kind.name, kind.target)))
    what = f"{kind.what[0].upper()}{kind.what[1:]}."
    command.command(kind.name, help=f"{what} {JUDGED}\n\nExample: fanout chaos {example} --for 5s")(cause_it)


def fault_of(kind: Kind, target: str | None, level: int | None, span: float | None) -> Fault:
    """Returns the fault with what is given, and its defaults. Raises BadUsage for what it cannot have."""
    fault = usual(kind)
    if level is not None:
        if kind.level is None or not kind.level.least <= level <= kind.level.most:
            allowed = f"a level from {kind.level.least} to {kind.level.most}" if kind.level else "no level"
            raise BadUsage(f"{kind.name} has {allowed}: fanout chaos ls")
        fault = replace(fault, level=level)
    if span is not None:
        if not 0 < span <= LONGEST_SECONDS:
            raise BadUsage(f"a fault lasts at most {LONGEST_SECONDS:.0f} s, and more than 0: write 10s")
        fault = replace(fault, seconds=span)
    return fault if target is None else replace(fault, target=_target(kind, target))


def _target(kind: Kind, given: str) -> str:
    match kind.takes:
        case "":
            raise BadUsage(f"{kind.name} has no target: fanout chaos {kind.name}")
        case "process" if not in_container():
            from fanout.chaos.processes import all_names

            return process_of(given, all_names())
        case "service":
            return service_of(given, services())
        case "table":
            service, _, table_name = given.partition(".")
            return f"{service_of(service, services())}.{table_name or TABLES[0]}"
        case "topic":
            known = sorted({event.TOPIC for event in EVENTS})
            if given not in known:
                raise BadUsage(f"no topic {given}{did_you_mean(given, known)}; there are {', '.join(known)}")
    return given


JUDGED = "It ends by itself. Orders are placed meanwhile; exit code 0 if what is expected held, 1 if it was violated."

for _kind in KINDS.values():
    _add(_kind)
