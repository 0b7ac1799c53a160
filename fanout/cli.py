"""The `fanout` command: its commands by name, each imported only when it is asked for."""

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fanout.errors import FanoutError

COMMANDS = {
    "up": "fanout.up:command",
    "down": "fanout.down:command",
    "status": "fanout.status:command",
    "logs": "fanout.logs:command",
    "setup": "fanout.setup.command:command",
    "check": "fanout.setup.check:command",
    "start": "fanout.processes:start",
    "stop": "fanout.processes:stop",
    "kill": "fanout.processes:kill",
    "verify": "fanout.ledger.verify:command",
    "lag": "fanout.lag.lag:command",
    "order": "fanout.timeline.command:command",
    "load": "fanout.load.command:command",
    "demo": "fanout.demo.demo:command",
}


def main() -> NoReturn:
    """Errors are one sentence on standard error and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    code = _run(sys.argv[1:])
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    # A Kafka client that is destroyed while its broker is gone can wait for ever: leave without destroying any.
    os._exit(code)


def _run(arguments: list[str]) -> int:
    try:
        _app(named(arguments))()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except FanoutError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if os.environ.get("FANOUT_DEBUG"):
            traceback.print_exc()
        print(
            f"error: unexpected {type(error).__name__}: {error}; FANOUT_DEBUG=1 shows where", file=sys.stderr
        )
        return 1
    return 0


def named(arguments: Iterable[str]) -> list[str]:
    """The commands that these arguments may mean; all of them, when the user only looks around."""
    return [name for name in COMMANDS if name in arguments] or list(COMMANDS)


def _app(names: list[str]) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name in names:
        module, function = COMMANDS[name].split(":")
        app.command(name)(getattr(importlib.import_module(module), function))
    return app


def _options(
    home: Annotated[
        Path | None, typer.Option(help="The folder of the stack; default: $FANOUT_HOME, else .fanout here.")
    ] = None,
) -> None:
    """An event-driven order system you can break: start it, watch it, break it, and see that nothing is lost.

    Example: fanout up && fanout status
    """
    if home:
        os.environ["FANOUT_HOME"] = str(home.absolute())


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
