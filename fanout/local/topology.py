"""Everything one stack is made of: the services found in this repository, their ports, passwords and processes."""

import json
import os
import sys
from dataclasses import asdict, dataclass

from fanout.errors import FanoutError
from fanout.local import artifacts, kafka, port_assignment, postgres, registry, smtp_server
from fanout.local.artifacts import Artifact
from fanout.local.ports import HOST, Ports
from fanout.local.ports import from_environment as ports_from_environment
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, current, write_private
from fanout.local.supervisor import SECRET, Supervisor
from fanout.repository import services, services_with_api
from fanout.running import Addresses, running

WRITES_TO_CUSTOMERS = "notifications"
"""The one service that is told where the mail server is."""


YIELDING = ["nice", "-n", "10"]
"""How workers are started, so that APIs are served first when processors are scarce."""


@dataclass(frozen=True)
class StackSpec:
    home: StackDirectory
    ports: Ports
    passwords: dict[str, str]
    artifacts: list[Artifact]
    services: list[str]
    apis: list[str]
    workers: dict[str, list[str]]
    offsets: dict[str, int]

    @classmethod
    def build(cls, home: StackDirectory, ports: Ports) -> "StackSpec":
        found = services()
        names = [SECRET, postgres.SUPERUSER, registry.DATABASE, *found]
        apis, counts = services_with_api(), port_assignment.counts(home)
        workers = {name: port_assignment.worker_names(name, counts.get(name, 1)) for name in found}
        every_worker = [worker for of_one in workers.values() for worker in of_one]
        offsets = port_assignment.give_offsets(home, [f"{name}-api" for name in apis], every_worker)
        return cls(home, ports, home.passwords(names), artifacts.pinned(), found, apis, workers, offsets)

    @classmethod
    def to_start(cls) -> "StackSpec":
        """On the ports of the environment, or those of the stack that already runs in this home."""
        home, ports = current(), ports_from_environment()
        if not Supervisor(home).answers():
            return cls.build(home, ports)
        drawn = cls.of_running()
        if "FANOUT_PORT_BASE" in os.environ and ports != drawn.ports:
            raise FanoutError(
                f"already running with FANOUT_PORT_BASE={drawn.ports.base}: fanout down, then up again"
            )
        return drawn

    @classmethod
    def of_running(cls) -> "StackSpec":
        """What the running stack would be if it were started now, on the ports it has."""
        home = current()
        running(home.path)
        return cls.build(home, Ports(json.loads(home.stack_file.read_text())["port_base"]))

    def infrastructure(self) -> list[Process]:
        password = self.passwords[registry.DATABASE]
        return [
            postgres.process(self.home, self.ports),
            kafka.process(self.home, self.ports, self.artifacts),
            registry.process(self.home, self.ports, self.artifacts, password),
            smtp_server.process(self.home, self.ports),
        ]

    def service_processes(self) -> list[Process]:
        workers = [self._worker(service, name) for service in self.services for name in self.workers[service]]
        return [*workers, *map(self._api, self.apis)]

    def database_url(self, service: str) -> str:
        return (
            f"postgresql+asyncpg://{service}:{self.passwords[service]}@{HOST}:{self.ports.postgres}/{service}"
        )

    def addresses(self) -> Addresses:
        return Addresses(
            kafka=f"{HOST}:{self.ports.kafka}",
            registry_url=registry.url(self.ports),
            databases={name: self.database_url(name) for name in self.services},
            apis={name: self._url(f"{name}-api") for name in self.apis},
            workers={name: self._url(self.workers[name][0]) for name in self.services},
        )

    def write_addresses(self) -> None:
        content = {"port_base": self.ports.base, **asdict(self.addresses())}
        write_private(self.home.stack_file, json.dumps(content, indent=2) + "\n")

    def _url(self, process: str) -> str:
        return f"http://{HOST}:{self._port(process)}"

    def _port(self, process: str) -> int:
        return self.ports.at(self.offsets[process])

    def _api(self, service: str) -> Process:
        return self._service("api", service, f"{service}-api", {})

    def _worker(self, service: str, name: str) -> Process:
        streams = {
            "FANOUT_INSTANCE": name,
            "FANOUT_KAFKA": f"{HOST}:{self.ports.kafka}",
            "FANOUT_REGISTRY_URL": registry.url(self.ports),
        }
        if service == WRITES_TO_CUSTOMERS:
            streams["FANOUT_SMTP"] = f"{HOST}:{self.ports.smtp}"
        return self._service("worker", service, name, streams)

    def _service(self, kind: str, service: str, name: str, more: dict[str, str]) -> Process:
        environment = {
            "FANOUT_DATABASE_URL": self.database_url(service),
            "FANOUT_HTTP_HOST": HOST,
            "FANOUT_HTTP_PORT": str(self._port(name)),
            **more,
        }
        command = [*(YIELDING if kind == "worker" else []), sys.executable, "-m", "chassis", kind, service]
        return Process(name, command, environment, ports=(self._port(name),))
