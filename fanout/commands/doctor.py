"""`fanout doctor`: examines the machine, the servers and the events, and says what mends what."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fanout.console import Json, console, counted, print_json, printable, progress
from fanout.doctor.examine import examine
from fanout.doctor.findings import EXIT_CODES, Finding, State, worst
from fanout.doctor.surroundings import look_around

Deep = Annotated[
    bool, typer.Option("--deep", help="Also ask the ledger, and read all of Kafka that outboxes do not have.")
]
WORDS: dict[State, str] = {
    "ok": "[green]ok[/]     ",
    "watch": "[yellow]watch[/]  ",
    "wrong": "[red]wrong[/]  ",
    "unasked": "[dim]unasked[/]",
}


def command(deep: Deep = False, json_output: Json = False) -> None:
    """Examine machine, processes, servers, contracts, topics and events; say what is wrong, and what mends it.

    Changes nothing. Works while the stack is down or only part of it runs, and says what could not be asked.

    0 all is well. 1 something is wrong. 3 something is to be watched: it will do harm, or somebody has to decide.

    Example: fanout doctor --json
    """
    around = look_around(deep)
    with progress(console) as tell:
        findings = asyncio.run(examine(around, tell))
    state = worst(findings)
    if json_output:
        print_json({"state": state, "findings": [asdict(finding) for finding in findings]})
    else:
        show(findings, Console(highlight=False))
    if code := EXIT_CODES[state]:
        raise typer.Exit(code)


def show(findings: Iterable[Finding], console: Console) -> None:
    """Prints what is well in one line each, and under everything else what it means and the command that mends it."""
    found = list(findings)
    for finding in found:
        what = escape(printable(finding.what))
        console.print(f"{WORDS[finding.state]} {finding.check}: {what}", soft_wrap=True)
        if finding.state != "ok":
            for line in _explanation(finding):
                console.print(f"        {escape(printable(line))}", soft_wrap=True)
    console.print(conclusion(found), style={"wrong": "red", "watch": "yellow"}.get(worst(found), "green"))


def conclusion(findings: Iterable[Finding]) -> str:
    counts = dict.fromkeys(WORDS, 0)
    for finding in findings:
        counts[finding.state] += 1
    parts = [
        *([f"{counts['wrong']} wrong"] if counts["wrong"] else []),
        *([f"{counts['watch']} to watch"] if counts["watch"] else []),
        *([f"{counts['unasked']} not asked"] if counts["unasked"] else []),
        counted(counts["ok"], "thing") + " well",
    ]
    return ", ".join(parts)


def _explanation(finding: Finding) -> Iterator[str]:
    if finding.meaning:
        yield finding.meaning
    if finding.remedy:
        yield f"→ {finding.remedy}"
