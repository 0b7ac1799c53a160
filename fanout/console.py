"""Where progress goes: standard error, so that what a command prints can be piped."""

from rich.console import Console

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
