"""`fanout down`: stops every process of the stack."""

from contextlib import nullcontext
from typing import Annotated

import typer

from fanout.console import say
from fanout.local import stop
from fanout.local.stack_directory import current


def command(wipe: Annotated[bool, typer.Option("--wipe", help="Delete all data as well.")] = False) -> None:
    """Stop every process and wait until all have ended. Data is kept, unless --wipe is given.

    Example: fanout down --wipe
    """
    try:
        _stop(wipe)
    except KeyboardInterrupt:
        say("stopped in between: fanout status shows what still runs, fanout down again ends it")
        raise


def _stop(wipe: bool) -> None:
    directory = current()
    with directory.locked() if directory.path.exists() else nullcontext():
        say("everything is stopped" if stop.take_down(directory, at_once=wipe) else "nothing was running")
        if wipe and directory.path.exists():
            stop.wipe(directory)
            say(f"deleted the data in {directory.path}")
