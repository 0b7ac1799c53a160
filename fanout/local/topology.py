"""What one local stack consists of: the services found in this repository, their ports, passwords and processes."""

import json
import os
import sys
from dataclasses import asdict, dataclass

from fanout import kafka_admin
from fanout.errors import FanoutError
from fanout.local import kafka, postgres, registry
from fanout.local import ports as port_assignment
from fanout.local.downloads import Artifact, pinned
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, current, write_private
from fanout.local.supervisor import SECRET, Supervisor
from fanout.provision.databases import REGISTRY
from fanout.provision.steps import Servers
from fanout.repository import services, services_with_api
from fanout.running import Addresses, running
from fanout.tokens import public_key

MAILBOX = "mailbox"
WRITES_TO_CUSTOMERS = "notifications"
"""The one service that is told where the mail server is."""
AGES = ("FANOUT_RETENTION_DAYS", "FANOUT_CLOSED_DAYS")
"""The settings that are taken from the user's environment, alike for all workers."""
TRACING, TRACE_EVENTS = "OTEL_", "FANOUT_TRACE_EVENTS"
"""OpenTelemetry's own variables and ours, taken from the user's environment for every service process."""
ONE_NAME_FOR_ALL = "OTEL_SERVICE_NAME"
"""Is not passed on: each process is traced under the name of its own service."""
LOW_PRIORITY = ["nice", "-n", "10"]
"""How workers are started, so that APIs are served first when processors are scarce."""


@dataclass(frozen=True)
class StackSpec:
    """`workers` are the names of each service's processes, `offsets` each service process' port above the base."""

    directory: StackDirectory
    ports: Ports
    passwords: dict[str, str]
    token_public_key: str
    artifacts: list[Artifact]
    services: list[str]
    apis: list[str]
    workers: dict[str, list[str]]
    offsets: dict[str, int]

    @classmethod
    def build(cls, directory: StackDirectory, ports: Ports) -> "StackSpec":
        """Builds it from the services found and what the directory keeps; new services get ports and passwords."""
        found, apis, counts = services(), services_with_api(), port_assignment.counts(directory)
        workers = {name: port_assignment.worker_names(name, counts.get(name, 1)) for name in found}
        every_worker = [worker for names in workers.values() for worker in names]
        offsets = port_assignment.assign(directory, [f"{name}-api" for name in apis], every_worker)
        passwords = directory.passwords([SECRET, postgres.SUPERUSER, REGISTRY, *found])
        key = public_key(directory.token_key)
        return cls(directory, ports, passwords, key, pinned(), found, apis, workers, offsets)

    @classmethod
    def to_start(cls) -> "StackSpec":
        """On the ports of the environment, or those of the stack that already runs in the directory."""
        directory, ports = current(), port_assignment.from_environment()
        if not Supervisor(directory).answers():
            return cls.build(directory, ports)
        spec = cls.of_running()
        if "FANOUT_PORT_BASE" in os.environ and ports.base != spec.ports.base:
            raise FanoutError(
                f"already running with FANOUT_PORT_BASE={spec.ports.base}: fanout down, then up again"
            )
        return spec

    @classmethod
    def of_running(cls) -> "StackSpec":
        """What the running stack would be if it were started now, on the ports it has."""
        directory = current()
        running(directory.path)
        return cls.build(directory, Ports(json.loads(directory.stack_file.read_text())["port_base"]))

    def infrastructure(self) -> list[Process]:
        command = [sys.executable, "-m", "fanout.local.smtp_server", HOST, str(self.ports.smtp)]
        mail = [*command, str(self.directory.mail)]
        password = self.passwords[REGISTRY]
        return [
            postgres.process(self.directory, self.ports),
            kafka.process(self.directory, self.ports, self.artifacts),
            registry.process(self.directory, self.ports, self.artifacts, password),
            Process(MAILBOX, mail, ports=(self.ports.smtp,), stop_seconds=5, priority=40),
        ]

    def service_processes(self) -> list[Process]:
        workers = [self._worker(service, name) for service in self.services for name in self.workers[service]]
        key = {"FANOUT_TOKEN_PUBLIC_KEY": self.token_public_key}
        apis = [self._service("api", service, f"{service}-api", key) for service in self.apis]
        return [*workers, *apis]

    def _worker(self, service: str, name: str) -> Process:
        settings = {
            "FANOUT_INSTANCE": name,
            "FANOUT_KAFKA": f"{HOST}:{self.ports.kafka}",
            "FANOUT_REGISTRY_URL": registry.url(self.ports),
        }
        settings |= {name: os.environ[name] for name in AGES if name in os.environ}
        if service == WRITES_TO_CUSTOMERS:
            settings["FANOUT_SMTP"] = f"{HOST}:{self.ports.smtp}"
        return self._service("worker", service, name, settings)

    def _service(self, kind: str, service: str, name: str, more: dict[str, str]) -> Process:
        port = self.ports.base + self.offsets[name]
        environment = {
            "FANOUT_DATABASE_URL": self.servers().url(service),
            "FANOUT_HTTP_HOST": HOST,
            "FANOUT_HTTP_PORT": str(port),
            **tracing(),
            **more,
        }
        command = [sys.executable, "-m", "chassis", kind, service]
        command = [*LOW_PRIORITY, *command] if kind == "worker" else command
        return Process(name, command, environment, ports=(port,), service=service)

    def servers(self) -> Servers:
        return Servers(
            kafka=lambda: kafka_admin.admin(self.ports),
            registry_url=registry.url(self.ports),
            services=self.services,
            passwords=self.passwords,
            postgres_port=self.ports.postgres,
        )

    def addresses(self) -> Addresses:
        return Addresses(
            kafka=f"{HOST}:{self.ports.kafka}",
            registry_url=registry.url(self.ports),
            databases=self.servers().urls,
            apis={name: self._url(f"{name}-api") for name in self.apis},
            workers={name: self._url(self.workers[name][0]) for name in self.services},
            token_key=str(self.directory.token_key),
        )

    def write_addresses(self) -> None:
        content = {"port_base": self.ports.base, **asdict(self.addresses())}
        write_private(self.directory.stack_file, json.dumps(content, indent=2) + "\n")

    def _url(self, process: str) -> str:
        return f"http://{HOST}:{self.ports.base + self.offsets[process]}"


def tracing() -> dict[str, str]:
    """Returns the variables by which OpenTelemetry is configured. Without them no process traces anything."""
    return {
        name: value
        for name, value in os.environ.items()
        if (name.startswith(TRACING) and name != ONE_NAME_FOR_ALL) or name == TRACE_EVENTS
    }
