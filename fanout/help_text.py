"""The text of `--help`: paragraphs without the line breaks of their docstrings, which Typer would keep."""

import inspect

import typer


def flowing(docstring: str | None) -> str:
    """Returns paragraphs of one line each, which any width can wrap; examples keep a line of their own."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(_joined(paragraph.splitlines()) for paragraph in paragraphs)


def let_help_flow(group: typer.Typer) -> None:
    """Does it for every command of a group, such as `fanout dlq`."""
    for command in group.registered_commands:
        command.help = command.help or flowing(getattr(command.callback, "__doc__", None))


def _joined(lines: list[str]) -> str:
    joined: list[str] = []
    for line in lines:
        if joined and not line.startswith("Example:"):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return "\n".join(joined)
