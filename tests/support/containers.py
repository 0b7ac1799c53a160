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

from fanout.addresses import Addresses
from fanout.compose.blocks import names
from tests.support.stack import REPOSITORY, Stack

UP_SECONDS = 600
ADDRESSES = """
import json
from dataclasses import asdict
from fanout.addresses import running
print(json.dumps(asdict(running())))
"""


@dataclass(frozen=True)
class Containers(Stack):
    @cached_property
    def addresses(self) -> Addresses:
        done = self.python("-c", ADDRESSES)
        assert done.returncode == 0, done.stderr
        return Addresses(**json.loads(done.stdout))

    @cached_property
    def passwords(self) -> dict[str, str]:
        """Of everybody, as only setup knows them."""
        text = self.compose(
            "run", "--rm", "--no-deps", "--entrypoint", "cat", "setup", "/run/secrets/passwords.json"
        )
        return dict(json.loads(text))

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
        """A program in Python, run by a process of that container."""
        return subprocess.run(
            ["docker", "compose", "exec", "-T", service, "python", "-c", program],
            cwd=self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def inspected(self) -> dict[str, dict[str, Any]]:
        ids = self.compose("ps", "-a", "-q").split()
        found = json.loads(self.docker("inspect", *ids))
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def status(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.must("status", "--json"))["processes"]
        return {row["process"]: row for row in rows}

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


def of_a_copy(folder: Path) -> Containers:
    listed = ["git", "ls-files", "-co", "--exclude-standard"]
    files = subprocess.run(
        listed, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for file in files:
        if (REPOSITORY / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / file, folder / file)
    own = {"COMPOSE_PROJECT_NAME": f"fanout-test-{os.getpid()}", "FANOUT_COMPOSE": "1"}
    variables = ["POSTGRES", "KAFKA", "REGISTRY"]
    variables += [name.removesuffix("-api").upper() for name in names() if name.endswith("-api")]
    ports = {
        f"FANOUT_{name}_PORT": str(port) for name, port in zip(variables, _free(len(variables)), strict=True)
    }
    return Containers(folder, os.environ | own | ports, folder)


def of_this_tree() -> Containers:
    file = (REPOSITORY / "docker-compose.yml").read_text()
    ports = {
        name: os.environ.get(name, default) for name, default in re.findall(r"\$\{(\w+_PORT):-(\d+)\}", file)
    }
    own = {"COMPOSE_PROJECT_NAME": "fanout", "FANOUT_COMPOSE": "1"}
    return Containers(REPOSITORY, os.environ | own | ports, REPOSITORY)


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
