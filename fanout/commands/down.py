"""`fanout down`: stop everything; no process is left."""

from typing import Annotated

import typer

from fanout.console import say


def command(wipe: Annotated[bool, typer.Option("--wipe", help="Delete all data too.")] = False) -> None:
    """Stop everything and wait until it is gone. Data stays, unless --wipe is given.

    Example: fanout down --wipe
    """
    from fanout.local import stop
    from fanout.local.stack_directory import current

    directory = current()
    if not directory.path.exists():
        say("nothing was running")
        return
    with directory.locked():
        say("everything is stopped" if stop.take_down(directory) else "nothing was running")
        if wipe:
            stop.wipe(directory)
            say(f"deleted the data in {directory.path}")
