"""The only place that calls docker: `docker compose` on this repository's file, and what it says of its containers."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

from fanout.errors import BadUsage, FanoutError, UnknownProcess
from fanout.local.stack_directory import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
OLDEST = (2, 20)
ENDS_BY_ITSELF = ("secrets", "setup")


@dataclass(frozen=True)
class Container:
    """`state` is docker's word; `health` is empty for one that has no probe or does not run."""

    id: str
    service: str
    state: str
    health: str


def compose(*arguments: str) -> str:
    """What it prints; FanoutError with its last line if it fails."""
    done = subprocess.run(_command(arguments), capture_output=True, text=True)
    if done.returncode != 0:
        raise _failure(arguments, done.stderr)
    return done.stdout


def show(*arguments: str) -> int:
    """Lets it print for itself, and returns its exit code."""
    return subprocess.run(_command(arguments)).returncode


def docker(*arguments: str) -> str:
    done = subprocess.run([_docker(), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise _failure(arguments, done.stderr)
    return done.stdout


def containers() -> list[Container]:
    found = [json.loads(line) for line in compose("ps", "-a", "--format", "json").splitlines()]
    return [
        Container(each["ID"], each["Service"], each["State"], each["Health"])
        for each in found
        if each["Service"] not in ENDS_BY_ITSELF
    ]


def published() -> dict[str, int]:
    """By service, the port on this machine at which it is reached, whether it runs or not."""
    services = json.loads(compose("config", "--format", "json"))["services"]
    return {
        name: int(service["ports"][0]["published"])
        for name, service in services.items()
        if service.get("ports")
    }


def variable(service: str) -> str:
    """What its port is called in .env."""
    return f"FANOUT_{service.removesuffix('-api').replace('gate', 'registry').upper()}_PORT"


def require_known(names: list[str]) -> None:
    known = compose("config", "--services").split()
    for name in names:
        if name not in known:
            raise UnknownProcess(name, sorted(set(known) - set(ENDS_BY_ITSELF)))


def require_recent() -> None:
    """An old one does not understand the file, and says so in words that help nobody."""
    text = compose("version", "--short").strip()
    numbers = text.lstrip("v").split(".")[:2]
    if tuple(int(number) for number in numbers if number.isdecimal()) < OLDEST:
        raise BadUsage(
            f"docker compose {text} is too old for docker-compose.yml: install {OLDEST[0]}.{OLDEST[1]} or newer"
        )


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [_docker(), "compose", "--project-directory", str(REPOSITORY), "-f", str(FILE), *arguments]


def _docker() -> str:
    found = shutil.which("docker")
    if found is None:
        raise BadUsage("there is no docker here: install it, or run without it: fanout up")
    return found


def _failure(arguments: tuple[str, ...], said: str) -> FanoutError:
    lines: list[Any] = said.strip().splitlines() or ["no reason given"]
    if "Cannot connect to the Docker daemon" in said or "daemon is not running" in said:
        return BadUsage("docker's daemon does not answer: start it, or run without it: fanout up")
    if "is not a docker command" in said or "unknown shorthand flag" in said:
        return BadUsage(f"this docker has no compose: install the plugin, {OLDEST[0]}.{OLDEST[1]} or newer")
    return FanoutError(f"docker {' '.join(arguments[:2])} failed: {lines[-1]}")
