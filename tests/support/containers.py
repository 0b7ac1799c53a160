"""A copy of the tree, brought up in containers of its own on free ports, and taken down with all it kept."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg

from fanout.compose.blocks import names
from fanout.compose.logins import OPERATOR
from fanout.compose.secrets import TOKEN_KEY
from fanout.repository import services
from fanout.running import Addresses
from tests.support.principals import kept
from tests.support.stack import REPOSITORY, Stack

UP_SECONDS = 600
ENDING = ("secrets", "setup")


@dataclass(frozen=True)
class Containers(Stack):
    @cached_property
    def addresses(self) -> Addresses:
        """As the operator reaches the containers from this machine, through the published ports."""
        ports = {name: self.environment[f"FANOUT_{name}_PORT"] for name in ("POSTGRES", "KAFKA", "REGISTRY")}
        password, apis = self.passwords[OPERATOR], [name for name in self.processes if name.endswith("-api")]
        return Addresses(
            kafka=f"127.0.0.1:{ports['KAFKA']}",
            registry_url=f"http://127.0.0.1:{ports['REGISTRY']}/apis/ccompat/v7",
            databases={
                name: f"postgresql+asyncpg://{OPERATOR}:{password}@127.0.0.1:{ports['POSTGRES']}/{name}"
                for name in services()
            },
            apis={
                name.removesuffix("-api"): f"http://127.0.0.1:{self.environment[port_variable(name)]}"
                for name in apis
            },
            workers={},
            token_key=str(kept(self.private_key)),
            kafka_user=OPERATOR,
            kafka_password=password,
        )

    @cached_property
    def passwords(self) -> dict[str, str]:
        """Returns the password of every login; only setup has them all."""
        return dict(json.loads(self._secret_of_setup("passwords.json")))

    @cached_property
    def private_key(self) -> str:
        return self._secret_of_setup(TOKEN_KEY)

    def _secret_of_setup(self, name: str) -> str:
        return self.compose(
            "run", "--rm", "--no-deps", "--entrypoint", "cat", "setup", f"/run/secrets/{name}"
        )

    @property
    def processes(self) -> list[str]:
        return [*names(self.repository / "docker-compose.yml")]

    def compose(self, *arguments: str, timeout: float = UP_SECONDS) -> str:
        return self.docker("compose", *arguments, timeout=timeout)

    def docker(self, *arguments: str, timeout: float = UP_SECONDS) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, (
            f"docker {' '.join(arguments)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def inside(self, service: str, program: str) -> subprocess.CompletedProcess[str]:
        """Runs a program in Python inside that container; `fanout` is started for it."""
        how = ["run", "--rm", "-T", "--entrypoint", "python"] if service == "fanout" else ["exec", "-T"]
        python = [] if service == "fanout" else ["python"]
        return subprocess.run(
            ["docker", "compose", *how, service, *python, "-c", program],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def configured(self) -> dict[str, dict[str, Any]]:
        """Every service as docker compose reads it, with the tool."""
        text = self.compose("--profile", "tool", "config", "--format", "json")
        return dict(json.loads(text)["services"])

    def inspected(self) -> dict[str, dict[str, Any]]:
        ids = self.compose("ps", "-a", "-q").split()
        found = json.loads(self.docker("inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def fanout(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """The tool as a user of the containers has it: nothing of it runs on this machine."""
        return subprocess.run(
            ["docker", "compose", "run", "--rm", "-T", "fanout", *arguments],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def crash(self, service: str) -> None:
        """Kills everything in the container but its init, from inside: docker starts it again."""
        subprocess.run(
            ["docker", "compose", "exec", "-T", service, "sh", "-c", "kill -KILL -1"],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            timeout=60,
        )

    def restarts(self) -> dict[str, int]:
        """By service, how often docker started its container again; without the services that end."""
        found = {name: each["RestartCount"] for name, each in self.inspected().items()}
        return {name: count for name, count in found.items() if name not in ENDING}

    def take_down(self) -> None:
        subprocess.run(
            ["docker", "compose", "down", "-v", "--rmi", "local", "--remove-orphans", "--timeout", "10"],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
        )
        subprocess.run(
            ["docker", "image", "rm", f"{self.environment['COMPOSE_PROJECT_NAME']}-tool"], capture_output=True
        )


def of_a_copy(folder: Path, name: str = "test") -> Containers:
    """Two copies are beside each other if their names differ."""
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(
        listed, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for file in files:
        if (REPOSITORY / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, folder / file)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o700)  # as git checks out under umask 077
    own = {"COMPOSE_PROJECT_NAME": f"fanout-{name}-{os.getpid()}"}
    variables = [f"FANOUT_{name}_PORT" for name in ("POSTGRES", "KAFKA", "REGISTRY")]
    variables += [port_variable(name) for name in names() if name.endswith("-api")]
    ports = dict(zip(variables, map(str, _free(len(variables))), strict=True))
    return Containers(folder, os.environ | own | ports, folder)


def of_this_tree() -> Containers:
    file = (REPOSITORY / "docker-compose.yml").read_text()
    ports = {
        name: os.environ.get(name, default) for name, default in re.findall(r"\$\{(\w+_PORT):-(\d+)\}", file)
    }
    own = {"COMPOSE_PROJECT_NAME": "fanout"}
    return Containers(REPOSITORY, os.environ | own | ports, REPOSITORY)


def port_variable(api: str) -> str:
    return f"FANOUT_{api.removesuffix('-api').upper()}_PORT"


def daemon_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def _free(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@asynccontextmanager
async def connected(containers: Containers, login: str, database: str) -> AsyncIterator[asyncpg.Connection]:
    port = int(containers.environment["FANOUT_POSTGRES_PORT"])
    password = containers.passwords[login]
    connection = await asyncpg.connect(
        host="127.0.0.1", port=port, user=login, password=password, database=database, timeout=20
    )
    try:
        yield connection
    finally:
        await connection.close()
