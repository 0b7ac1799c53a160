"""What there is to examine: the stack directory, its ports and processes, and the addresses of what runs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from fanout.errors import FanoutError, NotRunning
from fanout.local.ports import Ports, from_environment
from fanout.local.stack_directory import StackDirectory, current
from fanout.running import Addresses, in_container, running


@dataclass(frozen=True)
class Surroundings:
    """`addresses` is None while no stack runs; `processes` are the states of the local one's, by name."""

    directory: StackDirectory
    ports: Ports
    addresses: Addresses | None = None
    processes: Mapping[str, str] = field(default_factory=dict)
    in_container: bool = False
    deep: bool = False

    @property
    def runs(self) -> bool:
        return self.addresses is not None

    @property
    def start(self) -> str:
        """Returns the command that starts everything."""
        return "docker compose up --wait" if self.in_container else "fanout up"

    def how_to_start(self, process: str) -> str:
        return f"docker compose up --wait {process}" if self.in_container else f"fanout start {process}"


def look_around(deep: bool = False) -> Surroundings:
    """Finds out what runs. Raises BadUsage for a FANOUT_HOME or FANOUT_PORT_BASE that makes no sense."""
    directory = current()
    try:
        addresses = running()
    except NotRunning:
        addresses = None
    if in_container():
        return Surroundings(directory, from_environment(), addresses, in_container=True, deep=deep)
    ports = _ports_of(directory) if addresses else from_environment()
    return Surroundings(directory, ports, addresses, _states(directory) if addresses else {}, deep=deep)


def _ports_of(directory: StackDirectory) -> Ports:
    return Ports(json.loads(directory.stack_file.read_text())["port_base"])


def _states(directory: StackDirectory) -> dict[str, str]:
    from fanout.local.supervisor import Supervisor

    try:
        return {state.name: state.state for state in Supervisor(directory).states()}
    except FanoutError:
        return {}
