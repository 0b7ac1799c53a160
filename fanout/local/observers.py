"""What `fanout up --observe` adds to a stack: a trace viewer, the exporter and, where it is installed, Prometheus."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from fanout.local import downloads
from fanout.local.kafka import java
from fanout.local.ports import HOST, Ports, require_free
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory, write_private
from fanout.observe.targets import Target, as_json
from fanout.repository import REPOSITORY

VIEWER, RECEIVER, EXPORTER, PROMETHEUS = "zipkin", "trace-receiver", "exporter", "prometheus"
SETTINGS = REPOSITORY / "deploy" / "observability"
CONFIGURED = ("prometheus.yml", "rules.yml")
HEAP_MB = 384
MOST_SPANS = 80_000
"""How many spans the viewer keeps in its heap, those of some 2,000 orders; the oldest traces go first."""
MOST_METRICS = "512MB"


def choose(directory: StackDirectory, ports: Ports, on: bool) -> None:
    """Keeps in the stack directory whether the stack is observed, once the viewer is there and its ports are free.

    Raises BusyPort, NoNetwork, WrongSum or UnusableFolder.
    """
    if not on:
        directory.observing.unlink(missing_ok=True)
        return
    if not directory.observing.exists():
        require_free(
            {
                ports.viewer: VIEWER,
                ports.traces: RECEIVER,
                ports.exporter: EXPORTER,
                ports.prometheus: PROMETHEUS,
            }
        )
    downloads.fetch([downloads.viewer()])
    write_private(directory.observing, json.dumps({PROMETHEUS: shutil.which(PROMETHEUS)}) + "\n")


def processes(directory: StackDirectory, ports: Ports) -> list[Process]:
    """Returns the processes that were chosen, none if nobody asked for them."""
    if not directory.observing.exists():
        return []
    program = json.loads(directory.observing.read_text())[PROMETHEUS]
    found = [_viewer(directory, ports), _receiver(ports), _exporter(directory, ports)]
    return [*found, _prometheus(directory, ports, program)] if program else found


def settings_of_services(ports: Ports) -> dict[str, str]:
    """Returns the variables by which services send their traces to the viewer, whatever the user's shell says."""
    endpoint = f"http://{HOST}:{ports.traces}"
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces",
    }


def prepare(directory: StackDirectory, ports: Ports, services: Iterable[Process]) -> None:
    """Writes what Prometheus reads, which takes over at once that a process came or went."""
    found = [Target(each.name, f"{HOST}:{each.ports[0]}", each.service) for each in services]
    directory.zipkin.mkdir(parents=True, exist_ok=True)
    directory.prometheus.mkdir(parents=True, exist_ok=True)
    for name in CONFIGURED:
        shutil.copyfile(SETTINGS / name, directory.prometheus / name)
    (directory.prometheus / "alertmanagers.json").write_text("[]\n")
    targets = as_json([*found, Target(EXPORTER, f"{HOST}:{ports.exporter}")])
    _replace(directory.prometheus / "targets.json", targets)


def health(ports: Ports) -> dict[str, str]:
    """Returns where each process answers 200 once it works."""
    return {
        VIEWER: f"http://{HOST}:{ports.viewer}/health",
        RECEIVER: f"http://{HOST}:{ports.traces}/health/ready",
        EXPORTER: f"http://{HOST}:{ports.exporter}/health/ready",
        PROMETHEUS: f"http://{HOST}:{ports.prometheus}/-/ready",
    }


def pages(ports: Ports) -> dict[str, str]:
    """Returns what to open in a browser, by process."""
    return {
        VIEWER: f"http://{HOST}:{ports.viewer}/zipkin/",
        EXPORTER: f"http://{HOST}:{ports.exporter}/metrics",
        PROMETHEUS: f"http://{HOST}:{ports.prometheus}/alerts",
    }


def traces(ports: Ports) -> str:
    """Returns the address of a trace, without its id."""
    return f"{pages(ports)[VIEWER]}traces/"


def _viewer(directory: StackDirectory, ports: Ports) -> Process:
    # It unpacks libraries that a killed process leaves behind, so not to /tmp.
    temporary = f"-Djava.io.tmpdir={directory.zipkin}"
    page = f"http://{HOST}:{ports.viewer}"
    options = {
        "armeria.ports[0].ip": HOST,
        "armeria.ports[0].port": ports.viewer,
        "armeria.ports[0].protocols[0]": "http",
        "zipkin.storage.mem.max-spans": MOST_SPANS,
        "zipkin.query.allowed-origins": page,
        "zipkin.ui.query-limit": 50,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return Process(
        VIEWER,
        java(
            HEAP_MB,
            ["-XX:+ExitOnOutOfMemoryError", temporary, "-jar", str(downloads.viewer().path), *arguments],
        ),
        ports=(ports.viewer,),
        folder=directory.path,
        priority=50,
    )


def _receiver(ports: Ports) -> Process:
    command = [sys.executable, "-m", "fanout.observe.receiver", str(ports.traces)]
    command.append(f"http://{HOST}:{ports.viewer}")
    return Process(RECEIVER, command, ports=(ports.traces,), stop_seconds=5, priority=60)


def _exporter(directory: StackDirectory, ports: Ports) -> Process:
    command = [sys.executable, "-m", "fanout", "exporter", "--port", str(ports.exporter)]
    environment = {"FANOUT_HOME": str(directory.path)}
    return Process(EXPORTER, command, environment, ports=(ports.exporter,), stop_seconds=5)


def _prometheus(directory: StackDirectory, ports: Ports, program: str) -> Process:
    options = {
        "config.file": "prometheus.yml",
        "storage.tsdb.path": "data",
        "storage.tsdb.retention.size": MOST_METRICS,
        "web.listen-address": f"{HOST}:{ports.prometheus}",
        "enable-feature": "exemplar-storage",
    }
    return Process(
        PROMETHEUS,
        [program, *(f"--{name}={value}" for name, value in options.items())],
        {"FANOUT_SETTINGS": _sum(SETTINGS / name for name in CONFIGURED)},  # a change of them restarts it
        ports=(ports.prometheus,),
        folder=directory.prometheus,
        priority=600,
    )


def _sum(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _replace(file: Path, text: str) -> None:
    """Replaces the file in one step, since Prometheus may be reading it."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(text)
    fresh.replace(file)
