"""Where the containers are reached from this machine, and as whom: published ports, and the operator's password."""

from fanout.addresses import Addresses
from fanout.compose.docker import containers, published
from fanout.compose.processes import OPERATOR
from fanout.errors import FanoutError, NotRunning
from fanout.local.ports import HOST
from fanout.local.stack_directory import REPOSITORY

PASSWORD = REPOSITORY / ".secrets" / OPERATOR / "password"


def running() -> Addresses:
    known = containers()
    if not any(container.state == "running" for container in known):
        raise NotRunning("fanout --compose up")
    services = sorted(
        container.service.removesuffix("-worker")
        for container in known
        if container.service.endswith("-worker")
    )
    ports, password = published(), _password()
    return Addresses(
        kafka=f"{HOST}:{ports['kafka']}",
        registry_url=f"http://{HOST}:{ports['gate']}/apis/ccompat/v7",
        databases={name: _database(name, password, ports["postgres"]) for name in dict.fromkeys(services)},
        apis={
            name.removesuffix("-api"): f"http://{HOST}:{port}"
            for name, port in ports.items()
            if name.endswith("-api")
        },
        workers={},
        kafka_user=OPERATOR,
        kafka_password=password,
    )


def _database(name: str, password: str, port: int) -> str:
    return f"postgresql+asyncpg://{OPERATOR}:{password}@{HOST}:{port}/{name}"


def _password() -> str:
    try:
        return PASSWORD.read_text()
    except OSError as error:
        raise FanoutError(
            f"{PASSWORD} cannot be read ({error.strerror}): it belongs to the owner of this folder, and "
            "docker compose up secrets writes it"
        ) from error
