"""Writes docs/commands.md from what `fanout --help` says: `python -m docs.commands`, or with --check only compares."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from fanout import cli

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# Commands

Written by `make docs` from what `fanout --help` says; `make check` compares. Every command takes `--help`.
A process may be called by its service if that has no other (`fraud`), a service by one of its processes (`orders-api`).
`fanout --install-completion`, once, makes TAB complete commands, processes and services in bash, zsh and fish.
An error is one sentence, with exit code 1, or 2 if the input or the surroundings are wrong; Ctrl-C is 130.
"""


def text() -> str:
    """Returns the whole page."""
    group = typer.main.get_command(cli._app(list(cli.COMMANDS)))
    assert isinstance(group, TyperGroup)
    return "\n".join([HEAD, *_options(typer.Context(group, info_name="fanout")), *_sections(group, "fanout")])


def _sections(group: TyperGroup, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        title = f"{prefix} {name}"
        context = typer.Context(command, info_name=title)
        yield f"## {title}"
        yield from _paragraphs(command.help or "")
        yield from _options(context)
        if isinstance(command, TyperGroup):
            yield from _sections(command, title)


def _paragraphs(help_text: str) -> Iterator[str]:
    for paragraph in help_text.strip().split("\n\n"):
        line = " ".join(paragraph.split())
        first, *examples = re.split(r"\s*\bExample: ", line)
        if first:
            yield f"{first}\n"
        if examples:
            yield "\n".join(["```", *examples, "```\n"])


def _options(context: typer.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in context.command.get_params(context)]
    rows = [(names, meaning) for names, meaning in filter(None, records) if names != "--help"]
    if rows:
        yield "| | |\n|---|---|"
        yield from (f"| `{_escaped(names)}` | {_escaped(meaning)} |" for names, meaning in rows)
        yield ""


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")


if __name__ == "__main__":
    if "--check" not in sys.argv:
        PAGE.write_text(text())
    elif PAGE.read_text() != text():
        sys.exit("docs/commands.md is not what fanout --help says: run python -m docs.commands")
