"""The `fanout` command: maps each command name to its function, which is imported only when it is used."""

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from fanout import __version__, environment
from fanout.errors import BadUsage, FanoutError, FolderFull, Unreachable
from fanout.failures import explained
from fanout.help_text import flowing, let_help_flow
from fanout.running import in_container

ANY_ARGUMENTS = {"allow_extra_args": True, "ignore_unknown_options": True}

COMMANDS = {
    "up": "fanout.commands.up:command",
    "dev": "fanout.commands.dev:command",
    "down": "fanout.commands.down:command",
    "status": "fanout.commands.status:command",
    "logs": "fanout.commands.logs:command",
    "setup": "fanout.commands.setup:command",
    "new-consumer": "fanout.commands.new_consumer:command",
    "test": "fanout.commands.test:command",
    "check": "fanout.commands.check:command",
    "schemas": "fanout.commands.schemas:command",
    "start": "fanout.commands.processes:start",
    "stop": "fanout.commands.processes:stop",
    "kill": "fanout.commands.processes:kill",
    "verify": "fanout.commands.verify:command",
    "lag": "fanout.commands.lag:command",
    "exporter": "fanout.commands.exporter:command",
    "scale": "fanout.commands.scale:command",
    "replay": "fanout.commands.replay:command",
    "resend": "fanout.commands.resend:command",
    "recover": "fanout.commands.recover:command",
    "doctor": "fanout.commands.doctor:command",
    "order": "fanout.commands.order:command",
    "tail": "fanout.commands.tail:command",
    "sql": "fanout.commands.sql:command",
    "token": "fanout.commands.token:command",
    "mailbox": "fanout.commands.mailbox:command",
    "poison": "fanout.commands.poison:command",
    "outbox": "fanout.commands.outbox:command",
    "dlq": "fanout.commands.dlq:command",
    "load": "fanout.commands.load:command",
    "chaos": "fanout.commands.chaos:command",
    "compare": "fanout.commands.compare:command",
    "demo": "fanout.commands.demo:command",
}

WITH_CONTAINERS = {
    "up": "docker compose up --build --wait",
    "dev": "docker compose up --build --wait after each change",
    "down": "docker compose down, with -v to delete the data",
    "status": "docker compose ps",
    "logs": "docker compose logs fraud-worker",
    "setup": "docker compose run --rm setup",
    "start": "docker compose up --wait fraud-worker",
    "stop": "docker compose stop fraud-worker",
    "kill": "docker compose exec fraud-worker sh -c 'kill -KILL -1'",
    "scale": "docker compose up --detach --no-recreate --scale inventory-worker=3",
    "demo": "docker compose run --rm fanout load, then docker compose run --rm fanout verify --wait 60s",
    "compare": "run it where the repository is, on the local stack: make up, then fanout compare",
    "new-consumer": "run it where the repository is, then docker compose up --build --wait",
    "test": "run it where the repository is, after make install",
    "check": "run it where the repository is, after make install",
}
"""The commands that work on local processes and files only, and what to do in their place with containers."""


def main() -> NoReturn:
    """Runs one command; an error is one sentence on standard error and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, _end)
    environment.drop_foreign()
    _print_what_the_terminal_can()
    code = _run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        code = code or _say(FolderFull(error))
    # Destroying a Kafka client whose broker is gone can block for ever, so the process ends without doing it.
    os._exit(code)


def _print_what_the_terminal_can() -> None:
    """Makes standard output replace a character that its encoding lacks, as in a locale of one byte a letter."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _run(arguments: list[str]) -> int:
    try:
        app = _app(_named([*arguments, *_completed()]))
        if (
            signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        ):  # as __main__ left it while modules are imported
            signal.signal(signal.SIGINT, signal.default_int_handler)
        app(prog_name="fanout")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except FanoutError as error:
        return _say(error)
    except Exception as error:
        if os.environ.get("FANOUT_DEBUG"):
            traceback.print_exc()
        return _say(explained(error))
    return 0


def _say(error: FanoutError) -> int:
    if isinstance(error, Unreachable):
        from fanout import stopped

        error = stopped.explained(error)
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _completed() -> list[str]:
    """Returns the words of the line that a shell wants to complete."""
    return os.environ.get("COMP_WORDS", os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()


def _named(arguments: Iterable[str]) -> list[str]:
    """Returns the commands that these arguments may mean; all commands when there is none, as for --help."""
    return [name for name in COMMANDS if name in arguments] or list(COMMANDS)


def _app(names: list[str]) -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_options)
    for name in names:
        if in_container() and name in WITH_CONTAINERS:
            app.command(name, context_settings=ANY_ARGUMENTS)(_local_only(name))
            continue
        module, function = COMMANDS[name].split(":")
        command = getattr(importlib.import_module(module), function)
        if isinstance(command, typer.Typer):
            let_help_flow(command)
            app.add_typer(command, name=name)
        else:
            app.command(name, help=flowing(command.__doc__))(command)
    return app


def _local_only(name: str) -> Callable[[], None]:
    sentence = f"fanout {name} is for the local stack; with containers: {WITH_CONTAINERS[name]}"

    def command() -> None:
        raise BadUsage(sentence)

    command.__doc__ = sentence
    return command


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"fanout {__version__}")
        raise typer.Exit


def _options(
    home: Annotated[
        Path | None,
        typer.Option(help="The stack directory: data and logs; default: $FANOUT_HOME, else .fanout here."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An event-driven order system you can break: start it, watch it, break it, and see that nothing is lost.

    Example: fanout up && fanout status
    """
    if home:
        os.environ["FANOUT_HOME"] = str(home.absolute())


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)
