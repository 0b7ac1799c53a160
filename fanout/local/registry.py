"""The schema registry: Apicurio, speaking the Confluent protocol and storing in Postgres."""

from fanout.local import cache
from fanout.local.artifacts import Artifact
from fanout.local.java import java
from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory

DATABASE = "registry"
HEAP_MB = 256


def url(ports: Ports) -> str:
    return f"http://{HOST}:{ports.registry}/apis/ccompat/v7"


def prepare(home: StackDirectory) -> None:
    """It unpacks a library into a folder of its own, which stays when it is killed: so not in /tmp."""
    home.registry.mkdir(parents=True, exist_ok=True)


def process(home: StackDirectory, ports: Ports, artifacts: list[Artifact], password: str) -> Process:
    folder = next(cache.path_of(artifact) for artifact in artifacts if artifact.is_archive)
    logging = "-Djava.util.logging.manager=org.jboss.logmanager.LogManager"
    temporary = f"-Djava.io.tmpdir={home.registry}"
    return Process(
        name="registry",
        command=java(HEAP_MB, [logging, temporary, "-jar", str(folder / "quarkus-run.jar")]),
        environment=_environment(ports, password),
        ports=(ports.registry, ports.registry_management),
        folder=home.path,
        priority=30,
    )


def _environment(ports: Ports, password: str) -> dict[str, str]:
    return {
        "QUARKUS_HTTP_HOST": HOST,
        "QUARKUS_HTTP_PORT": str(ports.registry),
        "QUARKUS_MANAGEMENT_HOST": HOST,
        "QUARKUS_MANAGEMENT_PORT": str(ports.registry_management),
        "QUARKUS_BANNER_ENABLED": "false",
        "QUARKUS_HTTP_ACCESS_LOG_ENABLED": "false",
        "APICURIO_STORAGE_KIND": "sql",
        "APICURIO_STORAGE_SQL_KIND": "postgresql",
        "APICURIO_DATASOURCE_URL": f"jdbc:postgresql://{HOST}:{ports.postgres}/{DATABASE}",
        "APICURIO_DATASOURCE_USERNAME": DATABASE,
        "APICURIO_DATASOURCE_PASSWORD": password,
        "APICURIO_DATASOURCE_JDBC_INITIAL_SIZE": "1",
        "APICURIO_DATASOURCE_JDBC_MIN_SIZE": "1",
        "APICURIO_DATASOURCE_JDBC_MAX_SIZE": "10",
    }
