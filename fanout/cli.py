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

from fanout.addresses import COMPOSE, in_compose
from fanout.errors import FanoutError

COMMANDS = {
    "up": "fanout.commands.up:command",
    "down": "fanout.commands.down:command",
    "status": "fanout.commands.status:command",
    "logs": "fanout.commands.logs:command",
    "setup": "fanout.commands.setup:command",
    "new-consumer": "fanout.commands.new_consumer:command",
    "check": "fanout.commands.check:command",
    "start": "fanout.commands.processes:start",
    "stop": "fanout.commands.processes:stop",
    "kill": "fanout.commands.processes:kill",
    "verify": "fanout.commands.verify:command",
    "lag": "fanout.commands.lag:command",
    "scale": "fanout.commands.scale:command",
    "replay": "fanout.commands.replay:command",
    "order": "fanout.commands.order:command",
    "mailbox": "fanout.commands.mailbox:command",
    "poison": "fanout.commands.poison:command",
    "outbox": "fanout.commands.outbox:command",
    "dlq": "fanout.commands.dlq:command",
    "load": "fanout.commands.load:command",
    "demo": "fanout.commands.demo:command",
}

IN_COMPOSE = {
    name: f"fanout.compose.control:{name}"
    for name in ("up", "down", "start", "stop", "kill", "logs", "setup", "mailbox", "scale", "demo")
} | {"status": "fanout.compose.status:command"}
"""Those that do the same to containers in another way; all others find them by their addresses."""
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def main() -> NoReturn:
    """Errors are one sentence on standard error and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    code = _run(sys.argv[1:])
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    # A Kafka client that is destroyed while its broker is gone can wait for ever: leave without destroying any.
    os._exit(code)


def _run(arguments: list[str]) -> int:
    if "--compose" in arguments:
        os.environ[COMPOSE] = "1"
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
    known = COMMANDS | (IN_COMPOSE if in_compose() else {})
    for name in names:
        module, function = known[name].split(":")
        command = getattr(importlib.import_module(module), function)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
            continue
        settings = PASSED_ON if in_compose() and name in ("mailbox", "scale", "demo") else {}
        app.command(name, context_settings=settings)(command)
    return app


def _options(
    home: Annotated[
        Path | None, typer.Option(help="The folder of the stack; default: $FANOUT_HOME, else .fanout here.")
    ] = None,
    compose: Annotated[
        bool, typer.Option("--compose", help="The containers of docker-compose.yml; or set FANOUT_COMPOSE=1.")
    ] = False,
) -> None:
    """An event-driven order system you can break: start it, watch it, break it, and see that nothing is lost.

    Example: fanout up && fanout status
    """
    if home:
        os.environ["FANOUT_HOME"] = str(home.absolute())


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
