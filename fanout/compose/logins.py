"""The logins of the containers: one for each worker and API of the services found, and four fixed ones."""

from dataclasses import dataclass

from fanout.repository import services, services_with_api

OPERATOR = "operator"
EXPORTER = "exporter"
"""The login that reads figures and nothing else, and its container."""
SETUP = "setup"
BROKER = "broker"


@dataclass(frozen=True)
class ServiceContainer:
    """`name` is its container; `login` is its user in Postgres and, for a worker, in Kafka."""

    service: str
    role: str

    @property
    def name(self) -> str:
        return f"{self.service}-{self.role}"

    @property
    def login(self) -> str:
        return f"{self.service}_{self.role}"


def workers() -> list[ServiceContainer]:
    return [ServiceContainer(name, "worker") for name in services()]


def apis() -> list[ServiceContainer]:
    return [ServiceContainer(name, "api") for name in services_with_api()]


def processes() -> list[ServiceContainer]:
    return [*workers(), *apis()]
