"""The schema registry of the local stack: Apicurio, with Confluent's protocol, storing in Postgres."""

from fanout.local.downloads import Artifact
from fanout.local.kafka import java
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.provision.databases import REGISTRY

HEAP_MB = 256
LOG_FORMAT = "%d{yyyy-MM-dd HH:mm:ss} %p [%c] (%t) %m%n"
"""Apicurio's own puts the offset of the time zone into the date: 2026-03+00-01."""


def url(ports: Ports) -> str:
    return f"http://{HOST}:{ports.registry}/apis/ccompat/v7"


def process(directory: StackDirectory, ports: Ports, artifacts: list[Artifact], password: str) -> Process:
    folder = next(artifact.path for artifact in artifacts if artifact.is_archive)
    logging = "-Djava.util.logging.manager=org.jboss.logmanager.LogManager"
    # It unpacks a library that a killed process leaves behind, so not to /tmp.
    temporary = f"-Djava.io.tmpdir={directory.registry}"
    return Process(
        name="registry",
        command=java(HEAP_MB, [logging, temporary, "-jar", str(folder / "quarkus-run.jar")]),
        environment={
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(ports.registry),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(ports.registry_management),
            "QUARKUS_BANNER_ENABLED": "false",
            "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
            "QUARKUS_LOG_CONSOLE_FORMAT": LOG_FORMAT,
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{HOST}:{ports.postgres}/{REGISTRY}",
            "APICURIO_DATASOURCE_USERNAME": REGISTRY,
            "APICURIO_DATASOURCE_PASSWORD": password,
            "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
            "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
        },
        ports=(ports.registry, ports.registry_management),
        folder=directory.path,
        priority=30,
    )
