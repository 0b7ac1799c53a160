"""`fanout down`: stops every process of the stack."""

from typing import Annotated

import typer

from fanout.console import say
from fanout.local import lock, stop
from fanout.local.stack_directory import current


def command(wipe: Annotated[bool, typer.Option("--wipe", help="Delete all data as well.")] = False) -> None:
    """Stop every process and wait until all have ended. Data is kept, unless --wipe is given.

    Example: fanout down --wipe
    """
    home = current()
    if not home.path.exists():
        say("nothing was running")
        return
    with lock.held(home):
        say("everything is stopped" if stop.take_down(home) else "nothing was running")
        if wipe:
            stop.wipe(home)
            say(f"deleted the data in {home.path}")
