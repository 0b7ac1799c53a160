"""The commands under `fanout dlq`."""

import typer

from fanout.dlq.acting import discard, redrive
from fanout.dlq.looking import ls, show

command = typer.Typer(no_args_is_help=True, help="Look at dead letters, send them back, or discard them.")
for each in (ls, show, redrive, discard):
    command.command(each.__name__)(each)
