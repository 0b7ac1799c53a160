"""The blocks of docker-compose.yml that belong to services: added with a new consumer, removed with its folder."""

import re
from pathlib import Path

from fanout.repository import REPOSITORY

FILE = REPOSITORY / "docker-compose.yml"
AFTER_ALL_SERVICES = "\nnetworks:"
PORT = re.compile(r"127\.0\.0\.1:\$\{FANOUT_\w+_PORT:-(81\d\d)\}")
"""Where a container is published: FANOUT_ORDERS_PORT, by default 8101."""
API_PORTS = range(8101, 8200)
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

API = """
  {name}-api:
    <<: *api
    build:
      <<: *build
      args:
        SERVICE: {name}
    command: [api, {name}]
    ports:
      - 127.0.0.1:${{FANOUT_{upper}_PORT:-{port}}}:8000
    volumes:
      - ./.secrets/{name}-api:/run/secrets:ro
"""


def names(file: Path = FILE) -> list[str]:
    """Returns the names of the services in docker-compose.yml, such as fraud-worker; none if there is no such file."""
    return HEADING.findall(file.read_text()) if file.exists() else []


def add(service: str, file: Path = FILE) -> list[str]:
    """Adds an API and a worker to docker-compose.yml. Returns the names of those that were not there."""
    if not file.exists():
        return []
    text = file.read_text()
    port = min(set(API_PORTS).difference(map(int, PORT.findall(text))))
    blocks = {
        f"{service}-api": API.format(name=service, upper=service.upper(), port=port),
        f"{service}-worker": WORKER.format(name=service),
    }
    added = [name for name in blocks if name not in names(file)]
    before, heading, after = text.partition(AFTER_ALL_SERVICES)
    file.write_text("".join([before, *(blocks[name] for name in added), heading, after]))
    return added


def remove(name: str, file: Path = FILE) -> None:
    file.write_text(re.sub(rf"^\n  {name}:\n(?:    .*\n)+", "", file.read_text(), flags=re.MULTILINE))
