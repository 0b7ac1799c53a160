"""`fanout --compose up|down|start|stop|kill|logs|setup|mailbox|...`: the containers instead of the processes."""

from typing import Annotated

import typer

from fanout.commands.processes import Names, signal_number
from fanout.compose import docker
from fanout.console import say
from fanout.errors import BadUsage, BusyPort, FanoutError
from fanout.local.ports import is_free

WAIT_SECONDS = "180"
TO_ITS_CHILD = "kill -{number} $(cat /proc/1/task/1/children)"


def up() -> None:
    """Build what changed, start everything, and wait until it is healthy.

    Ports are in docker-compose.yml and can be changed in .env.

    Example: fanout --compose up
    """
    docker.require_recent()
    running = {container.service for container in docker.containers() if container.state == "running"}
    for name, port in docker.published().items():
        if name not in running and not is_free(port):
            raise BusyPort(port, name, f"set {docker.variable(name)} in .env to another one")
    if docker.show("up", "--build", "--detach", "--remove-orphans", "--wait") != 0:
        raise FanoutError("not everything became healthy: fanout --compose status, and logs of what is not")
    say("everything is healthy: fanout --compose status")


def down(wipe: Annotated[bool, typer.Option("--wipe", help="Delete all data too.")] = False) -> None:
    """Stop and remove the containers. Data stays, unless --wipe is given.

    Example: fanout --compose down --wipe
    """
    docker.show("down", "--remove-orphans", *(["--volumes"] if wipe else []))


def stop(names: Names) -> None:
    """Stop containers and keep them stopped until they are started again.

    Example: fanout --compose stop kafka registry
    """
    docker.require_known(names)
    docker.compose("stop", *names)
    say(f"stopped: {', '.join(names)}")


def start(names: Names) -> None:
    """Start containers and wait until they are healthy.

    Example: fanout --compose start kafka
    """
    docker.require_known(names)
    docker.compose(
        "up", "--detach", "--no-deps", "--no-build", "--wait", "--wait-timeout", WAIT_SECONDS, *names
    )
    say(f"ready: {', '.join(names)}")


def kill(
    name: Annotated[str, typer.Argument(help="A process as fanout status names it.", show_default=False)],
    signal_name: Annotated[str, typer.Option("--signal", help="KILL, TERM, STOP, CONT, ...")] = "KILL",
) -> None:
    """Send a signal to the process in a container, from inside: docker starts one that ends by it again.

    Example: fanout --compose kill fraud-worker
    """
    docker.require_known([name])
    number = signal_number(signal_name)
    docker.compose("exec", "-T", name, "sh", "-c", TO_ITS_CHILD.format(number=number.value))
    say(f"sent {number.name} to the process in {name}")


def logs(
    service: Annotated[
        str, typer.Argument(help="A container (fraud-worker) or a service (fraud); default: all.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what is written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 20,
) -> None:
    """Print the last lines of the logs.

    Example: fanout --compose logs orders -f
    """
    known = docker.compose("config", "--services").split()
    names = [name for name in known if service in ("", name, name.rpartition("-")[0])]
    docker.require_known(names or [service])
    docker.show("logs", "--tail", str(lines), *(["--follow"] if follow else []), *names)


def setup(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what belongs to services whose folder is gone.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --prune: do not ask.")] = False,
) -> None:
    """Create missing databases, logins, rights, topics and schema versions, and run migrations.

    Example: fanout --compose setup
    """
    if prune or yes:
        raise BadUsage(
            "fanout setup --prune works on the local stack; containers are made anew by down --wipe, up"
        )
    if docker.show("run", "--rm", "--build", "--no-deps", "setup") != 0:
        raise FanoutError("the set-up failed")


def mailbox(context: typer.Context) -> None:
    """Show the e-mails that arrived, as fanout mailbox does: the mail server keeps them in its own container.

    Example: fanout --compose mailbox --to customer-001
    """
    raise typer.Exit(docker.show("exec", "-T", "mailbox", "python", "-m", "fanout", "mailbox", *context.args))


def scale() -> None:
    """Not in containers."""
    raise BadUsage(
        "fanout scale is for the local stack; here: docker compose up -d --no-recreate --scale inventory-worker=3"
    )


def demo() -> None:
    """Not in containers."""
    raise BadUsage("fanout demo starts the local stack; here: fanout --compose load, kill and verify")
