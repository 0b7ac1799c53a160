"""Imports point one way and never in a circle, and each library is used only where it belongs: read from the source."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("schemas", "chassis", "services", "fanout")

MAY_IMPORT = {
    "schemas": {"schemas"},
    "chassis": {"schemas", "chassis"},
    "services": {"schemas", "chassis", "services"},
    "fanout": {"schemas", "chassis", "fanout"},
}
ONLY_IN = {
    "aiokafka": (
        "chassis/consumer/kafka.py",
        "chassis/consumer/session.py",
        "chassis/consumer/assignment.py",
        "chassis/consumer/fetching.py",
    ),
    "confluent_kafka.Producer": ("chassis/outbox/producer.py",),
    "fastapi": (
        "chassis/http/app.py",
        "chassis/http/auth.py",
        "chassis/http/problems.py",
        "chassis/http/idempotency.py",
        "chassis/http/routes.py",
        "services/*/api.py",
    ),
    "opentelemetry": (
        "chassis/telemetry/encoding.py",
        "chassis/telemetry/recorder.py",
        "fanout/observe/receiver.py",
        "fanout/observe/zipkin.py",
    ),
    "opentelemetry.sdk": ("chassis/telemetry/encoding.py", "chassis/telemetry/recorder.py"),
    "alembic": ("chassis/migrations.py", "chassis/revisions/*", "services/*/migrations/*"),
}


def sources(*rooms: str) -> list[Path]:
    return [file.relative_to(ROOT) for room in rooms for file in sorted((ROOT / room).rglob("*.py"))]


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("file", sources(*ROOMS), ids=str)
def test_a_room_imports_only_what_is_below_it(file: Path) -> None:
    ours = {name.split(".")[0] for name in imports(file)} & set(ROOMS)
    assert ours <= MAY_IMPORT[file.parts[0]]


@pytest.mark.parametrize("file", sources(*ROOMS), ids=str)
def test_only_the_test_in_a_consumers_folder_imports_tests(file: Path) -> None:
    needs_tests = any(is_within(name, "tests") for name in imports(file))
    assert not needs_tests or file.match("services/*/test_*.py")


def test_no_imports_form_a_circle() -> None:
    modules = {module_name(file): file for file in sources(*ROOMS)}
    graph = {
        module: {found for name in imports(file) if (found := module_of(name, modules)) and found != module}
        for module, file in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def module_of(name: str, modules: Mapping[str, Path]) -> str | None:
    """Returns the module that an imported name is, or is defined in; None if it is none of ours."""
    return name if name in modules else next(iter({name.rpartition(".")[0]} & modules.keys()), None)


@pytest.mark.parametrize("file", sources("services"), ids=str)
def test_no_service_imports_another(file: Path) -> None:
    others = {name for name in imports(file) if is_within(name, "services")}
    assert {name.split(".")[1] for name in others} <= {file.parts[1]}


@pytest.mark.parametrize("file", [file for file in sources("services") if file.name == "domain.py"], ids=str)
def test_a_domain_imports_the_standard_library_only(file: Path) -> None:
    assert {name.split(".")[0] for name in imports(file)} <= sys.stdlib_module_names


@pytest.mark.parametrize(("library", "places"), ONLY_IN.items())
def test_a_library_appears_only_where_it_belongs(library: str, places: tuple[str, ...]) -> None:
    users = {file for file in sources(*ROOMS) for name in imports(file) if is_within(name, library)}
    strangers = {file for file in users if not any(file.match(place) for place in places)}
    assert users, f"nobody imports {library} any more"
    assert not strangers


@pytest.mark.parametrize("file", sources("services"), ids=str)
def test_a_service_never_commits(file: Path) -> None:
    calls = [
        node for node in ast.walk(ast.parse((ROOT / file).read_text())) if isinstance(node, ast.Attribute)
    ]
    assert not [call for call in calls if call.attr in {"commit", "rollback"}]


def test_an_api_process_loads_neither_kafka_nor_registry_clients() -> None:
    loaded = "import sys, services.orders.api; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {
        "aiokafka",
        "confluent_kafka",
        "chassis.outbox.relay",
        "chassis.consumer.kafka",
        "chassis.consumer.session",
    } & set(modules.stdout.split())
