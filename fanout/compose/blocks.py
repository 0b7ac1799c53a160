"""The blocks of docker-compose.yml that belong to services: added with a new consumer, removed with its folder."""

import re
from pathlib import Path

from fanout.repository import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
AFTER_ALL_SERVICES = "\nnetworks:"
HEADING = re.compile(r"^  (\w+-(?:worker|api)):$", re.MULTILINE)

WORKER = """
  {name}-worker:
    <<: *worker
    build:
      <<: *build
      args:
        SERVICE: {name}
    command: [worker, {name}]
    volumes:
      - ./.secrets/{name}-worker:/run/secrets:ro
"""


def names(file: Path = FILE) -> list[str]:
    """Returns the names of the services in docker-compose.yml, such as fraud-worker; none if there is no such file."""
    return HEADING.findall(file.read_text()) if file.exists() else []


def add_worker(service: str, file: Path = FILE) -> list[str]:
    """Adds a worker to docker-compose.yml. Returns its name in a list, empty if nothing had to be added."""
    name = f"{service}-worker"
    if not file.exists() or name in names(file):
        return []
    before, heading, after = file.read_text().partition(AFTER_ALL_SERVICES)
    file.write_text(before + WORKER.format(name=service) + heading + after)
    return [name]


def remove(name: str, file: Path = FILE) -> None:
    file.write_text(re.sub(rf"^\n  {name}:\n(?:    .*\n)+", "", file.read_text(), flags=re.MULTILINE))
