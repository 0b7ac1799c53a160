"""One Kafka node in KRaft mode, broker and controller in one process."""

import base64
import os
import subprocess
import uuid
from pathlib import Path
from string import Template

from fanout.errors import ProcessFailed
from fanout.local import cache
from fanout.local.artifacts import Artifact
from fanout.local.java import java
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.repository import REPOSITORY

SETTINGS = REPOSITORY / "deploy" / "kafka"
HEAP_MB = 320


def prepare(home: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> None:
    """Write the configuration and, the first time, format the data folder."""
    config = _config(home)
    config.parent.mkdir(parents=True, exist_ok=True)
    template = Template((SETTINGS / "server.properties").read_text())
    config.write_text(template.substitute(kafka=ports.kafka, controller=ports.controller, data=_data(home)))
    if not (_data(home) / "meta.properties").exists():
        _format(home, artifacts)


def process(home: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> Process:
    logging = f"-Dlog4j2.configurationFile={SETTINGS / 'log4j2.properties'}"
    return Process(
        name="kafka",
        command=java(HEAP_MB, [logging, "kafka.Kafka", str(_config(home))]),
        environment={"CLASSPATH": _classpath(artifacts)},
        ports=(ports.kafka, ports.controller),
        stop_seconds=30,
        priority=20,
    )


def _config(home: StackDirectory) -> Path:
    return home.path / "kafka" / "server.properties"


def _data(home: StackDirectory) -> Path:
    return home.path / "kafka" / "data"


def _classpath(artifacts: list[Artifact]) -> str:
    return os.pathsep.join(str(cache.path_of(artifact)) for artifact in artifacts if not artifact.is_archive)


def _format(home: StackDirectory, artifacts: list[Artifact]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = ["format", f"--cluster-id={cluster}", "-c", str(_config(home)), "--ignore-formatted"]
    done = subprocess.run(
        java(64, ["kafka.tools.StorageTool", *arguments]),
        env={**os.environ, "CLASSPATH": _classpath(artifacts)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ProcessFailed("kafka", "could not format its data folder", done.stdout + done.stderr)
