"""`fanout schemas`: checks the contracts without a server, compares them with the live registry, and registers them."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fanout.console import Json, counted, print_json, printable, say, table
from fanout.contracts import BROKEN, base, owners
from fanout.errors import BadUsage, FanoutError, NotRunning, did_you_mean
from fanout.repository import REPOSITORY
from fanout.running import running
from schemas import EVENTS, Event, gate, generator, published
from schemas.changes import changes
from schemas.files import ROOT, subject_of, versions_of
from schemas.model import ContractError
from schemas.problem import Problem

command = typer.Typer(
    no_args_is_help=True,
    help="Check contracts without a server, propose a change, compare with the live registry, register.",
)

Name = Annotated[str, typer.Argument(metavar="EVENT", help="Such as OrderPlaced.", show_default=False)]
Base = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="COMMIT",
        help="Its versions must be unchanged; default: $FANOUT_BASE, else where main was left.",
    ),
]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The .avsc.", show_default=False)]
Except = Annotated[
    list[str] | None,
    typer.Option(
        "--except", metavar="GROUP", help="A group of another owner who does not need the event any more."
    ),
]
Version = Annotated[int | None, typer.Option(min=1, help="Default: the newest.", show_default=False)]


@command.command()
def check(base_commit: Base = None, json_output: Json = False) -> None:
    """Check every contract without a server: format, rules, compatibility with all earlier versions, generated code.

    Exit code 1 if one may not be published; each problem says what to do instead.

    Example: fanout schemas check --base origin/main
    """
    commits, sums = _published(base_commit)
    found = [*gate.problems(ROOT, sums), *owners.problems(REPOSITORY / "services")]
    if BROKEN:
        what = f"it cannot be imported: {type(BROKEN).__name__}: {BROKEN}"
        found.append(Problem("__init__.py", "", what, published.WRITE_IT))
    if json_output:
        print_json({"base": commits, "problems": [asdict(each) for each in found]})
    else:
        _print_problems(found)
    if found:
        raise typer.Exit(1)
    if not json_output:
        compared = (
            f"unchanged since {commits[-1][:12]}" if commits else "there is no commit to compare them with"
        )
        count = sum(len(versions_of(event)) for event in EVENTS)
        say(
            f"{counted(len(EVENTS), 'event')}, {counted(count, 'version')}, all compatible both ways; {compared}"
        )


@command.command()
def generate() -> None:
    """Write the Python types from the newest versions, and the sums of new versions; published sums never change.

    Example: fanout schemas generate
    """
    _, sums = _published(None)
    try:
        generator.write(ROOT)
        published.write_sums(ROOT, sums)
    except ContractError as error:
        raise FanoutError(f"schemas/{error}") from error
    except OSError as error:
        raise FanoutError(f"the generated code cannot be written: {error}") from error


@command.command()
def propose(file: File, json_output: Json = False) -> None:
    """Judge a file as the next version of its event, without a server and by the live registry; write nothing.

    Exit code 1 if either refuses it.

    Example: fanout schemas propose /tmp/order_placed.avsc
    """
    from fanout.contracts.proposal import judge

    verdict = judge(file, _published(None)[1])
    if json_output:
        print_json(asdict(verdict))
    else:
        _print_problems(verdict.problems, folder="")
        registry = {True: "accepted", False: "refused", None: "not asked, it is not running"}
        print(printable(f"{verdict.event} version {verdict.version}"))
        print(f"  without a server: {'refused' if verdict.problems else 'accepted'}")
        print(f"  the registry:     {registry[verdict.registry_accepts]}")
    if not verdict.is_accepted:
        raise typer.Exit(1)


@command.command()
def diff(json_output: Json = False) -> None:
    """Compare the contracts with the live registry: versions that one of them lacks, texts, compatibility levels.

    Exit code 1 if they differ.

    Example: fanout schemas diff
    """
    from fanout.contracts.registry import LEVEL, history, lowered_levels, open_registry

    with open_registry(running().registry_url) as registry:
        subjects = {subject_of(event): event for event in EVENTS}
        known = set(registry.get_subjects())
        rows = [
            row
            for subject, event in subjects.items()
            for row in _differences(event, history(registry, subject))
        ]
        strange = sorted(known - subjects.keys() - gate.retired_subjects(ROOT))
        rows += [(subject, None, "only in the registry") for subject in strange]
        lowered = lowered_levels(registry, [subject for subject in subjects if subject in known])
    rows += [
        (subject or "every subject", None, f"compatibility {level}, not {LEVEL}: fanout setup")
        for subject, level in lowered.items()
    ]
    if json_output:
        fields = ("subject", "version", "difference")
        print_json({"differences": [dict(zip(fields, row, strict=True)) for row in rows]})
    elif rows:
        cells = [(subject, version or "-", what) for subject, version, what in rows]
        Console(highlight=False).print(
            table(("subject", ">version", "difference"), cells, unbroken=("subject",))
        )
    else:
        print(f"the registry has every version of {counted(len(EVENTS), 'event')}, and no other")
    if rows:
        raise typer.Exit(1)


@command.command("history")
def show_history(event: Name, json_output: Json = False) -> None:
    """Show every version of an event, its id in the registry if that is running, and what it changed.

    Example: fanout schemas history FraudAssessed
    """
    found = _event(event)
    ids = {each.number: each.schema_id for each in _registered(found)}
    try:
        texts = versions_of(found)
    except FileNotFoundError as error:
        raise FanoutError(f"{error.filename} is gone: run `make schemas`, or put it back") from error
    parsed: list[Any] = [json.loads(text) for _, text in texts]
    changed = [[], *(changes(old, new) for old, new in pairwise(parsed))]
    if json_output:
        rows = [
            {"version": number, "schema_id": ids.get(number), "changes": lines}
            for (number, _), lines in zip(texts, changed, strict=True)
        ]
        print_json({"event": found.NAME, "subject": subject_of(found), "versions": rows})
        return
    for (number, _), lines in zip(texts, changed, strict=True):
        print(f"{found.NAME} version {number}, id {ids.get(number, 'unknown')}")
        for line in lines:
            print(printable(f"  {line}"))


@command.command()
def show(event: Name, version: Version = None) -> None:
    """Print a version of an event as the live registry has it, with its id on standard error.

    Example: fanout schemas show OrderPlaced --version 1
    """
    from fanout.contracts.registry import history, open_registry

    found = _event(event)
    with open_registry(running().registry_url) as registry:
        versions = history(registry, subject_of(found))
    wanted = [each for each in versions if version in (None, each.number)]
    if not wanted:
        what = f"version {version} of {subject_of(found)}" if versions else f"subject {subject_of(found)}"
        raise FanoutError(f"the registry has no {what}: fanout schemas diff")
    say(f"{subject_of(found)} version {wanted[-1].number}, id {wanted[-1].schema_id}")
    print(json.dumps(json.loads(wanted[-1].text), indent=2, ensure_ascii=False))


@command.command()
def readers(event: Name, except_: Except = None, json_output: Json = False) -> None:
    """Show who handles an event, in which services and running workers, and when it was last published.

    Exit code 1 while somebody reads it, so that it proves before an event is retired that nobody does.

    Example: fanout schemas readers OrderConfirmed
    """
    from fanout.contracts.readers import find_readers

    found = asyncio.run(find_readers(event, running(), set(except_ or ())))
    if json_output:
        print_json(asdict(found))
    else:
        last = (
            f"last published {found.last_published:%Y-%m-%d %H:%M:%S} UTC"
            if found.last_published
            else "unsent"
        )
        print(f"{event} on topic {found.topic}, {last}")
        for line in found.described() or ["nobody reads it any more"]:
            print(f"  {line}")
    if not found.is_unread:
        raise typer.Exit(1)


@command.command()
def register() -> None:
    """Register every version that the live registry lacks, as `fanout setup` does; services never do it.

    Example: fanout schemas register
    """
    from fanout.contracts.registry import register_contracts

    new = register_contracts(running().registry_url)
    for change in new:
        print(f"new: {change}")
    if not new:
        say("nothing changed")


def _published(given: str | None) -> tuple[list[str], published.Sums]:
    """Returns the commits whose contracts are published, and the sums of these; without git, those of the file."""
    try:
        commits = base.base_commits(REPOSITORY, given)
        return commits, base.published(REPOSITORY, commits) if commits else published.read_sums(ROOT)
    except ContractError as error:
        raise FanoutError(f"schemas/{published.FILE}: {error}: restore it") from error


def _print_problems(problems: Iterable[Problem], folder: str = "schemas/") -> None:
    for problem in problems:
        print(printable(f"{folder}{problem.file}: {problem}"))
        print(printable(f"  instead: {problem.remedy}"))


def _event(name: str) -> type[Event]:
    """Returns the event type. Raises BadUsage if there is none of that name."""
    for event in EVENTS:
        if name == event.NAME:
            return event
    names = [event.NAME for event in EVENTS]
    raise BadUsage(f"no event {name}{did_you_mean(name, names)}; there are {', '.join(names)}")


def _registered(event: type[Event]) -> list[Any]:
    from fanout.contracts.registry import history, open_registry

    try:
        url = running().registry_url
    except NotRunning:
        return []
    with open_registry(url) as registry:
        return history(registry, subject_of(event))


def _differences(event: type[Event], registered: Iterable[Any]) -> Iterable[tuple[str, int | None, str]]:
    """Yields subject, version and difference for each version that is not the same in file and registry."""
    files, there = dict(versions_of(event)), {each.number: each.text for each in registered}
    for number in sorted(files.keys() | there.keys()):
        if number not in there:
            yield subject_of(event), number, "not registered: fanout setup"
        elif number not in files:
            yield subject_of(event), number, "only in the registry"
        elif json.loads(files[number]) != json.loads(there[number]):
            yield subject_of(event), number, "another text in the registry"
