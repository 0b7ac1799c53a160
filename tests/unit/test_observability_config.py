"""What `fanout up --observe` and the profile `observability` configure: confined, complete, and read by programs."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fanout.compose.logins import processes
from fanout.compose.secrets import GRAFANA, GRAFANA_UID, TokenKeys, files, logins, settings
from fanout.errors import BusyPort
from fanout.local import downloads, observers
from fanout.local.ports import Ports
from fanout.local.stack_directory import StackDirectory
from fanout.local.topology import StackSpec
from fanout.repository import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
PROFILE = "observability"
COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
ADDED: dict[str, Any] = {
    name: each for name, each in COMPOSE["services"].items() if PROFILE in each.get("profiles", [])
}
PORT = re.compile(r"127\.0\.0\.1:\$\{FANOUT_[A-Z]+_PORT:-\d+\}:\d+")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The settings as the container `secrets` writes them."""
    for path, _, text in settings(DEPLOY):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.fixture
def observed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackSpec:
    """A local stack with everything that `--observe` can add."""
    monkeypatch.setattr(downloads, "fetch", lambda _: None)
    monkeypatch.setattr(observers, "require_free", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    directory = StackDirectory(tmp_path / "home")
    observers.choose(directory, Ports(9000), True)
    return StackSpec.build(directory, Ports(9000))


def test_the_profile_adds_five_containers_and_up_without_it_starts_none_of_them() -> None:
    assert set(ADDED) == {"exporter", "jaeger", "prometheus", "alertmanager", "grafana"}
    others = {name for name in COMPOSE["services"] if name not in ADDED}
    waited_for = {each for name in others for each in COMPOSE["services"][name].get("depends_on", {})}
    assert not waited_for & set(ADDED)


@pytest.mark.parametrize("name", ADDED)
def test_a_container_of_the_profile_is_confined_like_the_others(name: str) -> None:
    found, worker = ADDED[name], COMPOSE["services"]["fraud-worker"]
    for setting in ("read_only", "cap_drop", "security_opt", "pids_limit", "init", "logging"):
        assert found[setting] == worker[setting], setting
    assert {"privileged", "cap_add"}.isdisjoint(found)
    assert found["mem_limit"].endswith("m") and "healthcheck" in found
    assert all(PORT.fullmatch(port) for port in found.get("ports", []))
    if "image" in found and not found["image"].endswith("-tool"):
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", found["image"])
        assert found["user"].split(":")[0] not in ("", "0", "root")
    limits = sum(int(each["mem_limit"].removesuffix("m")) for each in ADDED.values())
    assert limits <= 1100, "docs/observability.md says how much the profile takes"


def test_only_what_shows_something_is_on_a_port_and_nothing_of_it_reaches_postgres_or_kafka() -> None:
    assert {name for name, each in ADDED.items() if "ports" in each} == set(ADDED) - {"exporter"}
    for name in set(ADDED) - {"exporter"}:
        assert set(ADDED[name]["networks"]) <= {"observed", "observers", "mail"}, name
    traced = {name for name, each in COMPOSE["services"].items() if "observed" in each.get("networks", [])}
    assert traced == {*(each.name for each in processes()), "exporter", "jaeger", "prometheus"}


def test_nobody_can_log_in_to_grafana_and_its_administrator_has_a_password_of_its_own() -> None:
    environment = ADDED["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    passwords = {name: f"<{name}>" for name in logins()}
    secret = {path: (uid, text) for path, uid, text in files(passwords, TokenKeys("private", "public"), 1000)}
    assert secret["grafana/admin_password"] == (GRAFANA_UID, f"<{GRAFANA}>")
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/admin_password"
    assert "./.secrets/grafana:/run/secrets:ro" in ADDED["grafana"]["volumes"]


def test_every_folder_of_settings_that_a_container_mounts_is_written(written: Path) -> None:
    mounted = {
        volume.split(":")[0].removeprefix("./.secrets/")
        for each in ADDED.values()
        for volume in each["volumes"]
        if volume.startswith("./.secrets/")
    }
    assert mounted - {"exporter", "grafana"} <= {folder.name for folder in written.iterdir()}


def test_every_process_is_a_job_of_its_own_with_containers_and_without(
    written: Path, observed: StackSpec
) -> None:
    def jobs(file: Path) -> dict[str, tuple[str, str]]:
        groups = json.loads(file.read_text())
        return {
            each["labels"]["job"]: (each["targets"][0], each["labels"].get("service", "")) for each in groups
        }

    observers.prepare(observed.directory, observed.ports, observed.service_processes())
    with_containers = jobs(written / "prometheus-settings/targets.json")
    local = jobs(observed.directory.prometheus / "targets.json")
    assert set(with_containers) == set(local) == {*(each.name for each in processes()), "exporter"}
    assert with_containers["fraud-worker"] == ("fraud-worker:8000", "fraud")
    assert local["orders-api"] == ("127.0.0.1:9001", "orders")
    assert local["exporter"] == ("127.0.0.1:9028", "") and with_containers["exporter"][0] == "exporter:8000"


def test_a_second_worker_is_measured_without_a_restart_of_prometheus(observed: StackSpec) -> None:
    def watched() -> str:
        observers.prepare(observed.directory, observed.ports, observed.service_processes())
        return (observed.directory.prometheus / "targets.json").read_text()

    before = watched()
    observed.workers["fraud"].append("fraud-worker-2")
    observed.offsets["fraud-worker-2"] = 99
    assert "fraud-worker-2" in watched() and "fraud-worker-2" not in before
    again = StackSpec.build(observed.directory, observed.ports)
    assert again.observers == observed.observers


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")
def test_prometheus_reads_its_settings_with_containers_and_without(
    written: Path, observed: StackSpec
) -> None:
    observers.prepare(observed.directory, observed.ports, observed.service_processes())
    for folder in (written / "prometheus-settings", observed.directory.prometheus):
        done = run("promtool", "check", "config", str(folder / "prometheus.yml"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rules found" in done.stdout


@pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs amtool: apt-get install prometheus-alertmanager"
)
def test_alertmanager_reads_its_settings_and_pages_for_a_page_only(written: Path) -> None:
    file = str(written / "alertmanager-settings/alertmanager.yml")
    done = run("amtool", "check-config", file)
    assert done.returncode == 0, done.stdout + done.stderr
    for severity, receiver in {"page": "page", "warn": "warn"}.items():
        routed = run("amtool", "config", "routes", "test", f"--config.file={file}", f"severity={severity}")
        assert routed.stdout.strip() == receiver


def test_alerts_go_to_the_mail_server_of_the_system(written: Path) -> None:
    found = yaml.safe_load((written / "alertmanager-settings/alertmanager.yml").read_text())
    assert found["global"]["smtp_smarthost"] == "mailbox:2525"
    kinds = {kind for receiver in found["receivers"] for kind in receiver if kind != "name"}
    assert kinds == {"email_configs"}
    assert set(ADDED["alertmanager"]["networks"]) & set(COMPOSE["services"]["mailbox"]["networks"])


def test_jaeger_takes_otlp_where_the_page_says_and_uses_what_it_defines(written: Path) -> None:
    found = yaml.safe_load((written / "jaeger-settings/jaeger.yml").read_text())
    assert found["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    [pipeline] = found["service"]["pipelines"].values()
    for kind, names in {**pipeline, "extensions": found["service"]["extensions"]}.items():
        assert set(names) == set(found[kind]), kind
    page = (REPOSITORY / "docs/observability.md").read_text()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://jaeger:4318" in page


@pytest.mark.skipif(shutil.which("jaeger") is None, reason="needs jaeger, which no package has")
def test_jaeger_reads_its_settings(written: Path) -> None:
    done = run("jaeger", "validate", "--config", str(written / "jaeger-settings/jaeger.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_has_the_sources_that_dashboards_name_and_finds_the_dashboards(written: Path) -> None:
    sources = yaml.safe_load((written / "grafana-datasources/sources.yml").read_text())["datasources"]
    addresses = {each["uid"]: each["url"] for each in sources}
    boards = [json.loads(file.read_text()) for file in (written / "grafana-dashboards").iterdir()]
    named = {panel["datasource"]["uid"] for board in boards for panel in board["panels"]}
    assert len(boards) == 5 and named <= addresses.keys()
    assert addresses == {"prometheus": "http://prometheus:9090", "jaeger": "http://jaeger:16686"}
    [provider] = yaml.safe_load((written / "grafana-providers/files.yml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2][::-1] for volume in ADDED["grafana"]["volumes"])
    assert mounts[provider["options"]["path"]] == "./.secrets/grafana-dashboards"
    home = Path(ADDED["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (written / "grafana-dashboards" / home.name).exists()


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker compose, not its daemon")
def test_docker_compose_reads_the_profile_and_starts_nothing_of_it_by_default() -> None:
    def started(*profile: str) -> set[str]:
        done = run("docker", "compose", *profile, "config", "--services")
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    if run("docker", "compose", "version").returncode != 0:
        pytest.skip("docker has no compose here")
    assert started("--profile", PROFILE) - started() == set(ADDED)


def test_a_stack_that_nobody_observes_has_no_process_and_no_variable_more(tmp_path: Path) -> None:
    spec = StackSpec.build(StackDirectory(tmp_path), Ports(9000))
    assert spec.observers == []
    assert not [each for each in spec.processes() if "OTEL_EXPORTER_OTLP_ENDPOINT" in each.environment]
    assert downloads.viewer() not in spec.artifacts


def test_an_observed_stack_sends_every_trace_to_its_own_receiver_whatever_the_shell_says(
    observed: StackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://elsewhere:4318/v1/traces")
    for process in observed.service_processes():
        assert process.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:9027"
        assert process.environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] == "http://127.0.0.1:9027/v1/traces"
    used = [port for process in observed.processes() for port in process.ports]
    assert len(used) == len(set(used))


def test_prometheus_is_left_out_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "fetch", lambda _: None)
    monkeypatch.setattr(observers, "require_free", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    observers.choose(StackDirectory(tmp_path), Ports(9000), True)
    spec = StackSpec.build(StackDirectory(tmp_path), Ports(9000))
    assert [each.name for each in spec.observers] == ["zipkin", "trace-receiver", "exporter"]


def test_a_port_that_is_taken_is_named_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "fetch", lambda _: pytest.fail("the ports come first"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = Ports(taken.getsockname()[1] - 26)
        with pytest.raises(BusyPort, match="zipkin"):
            observers.choose(StackDirectory(tmp_path), ports, True)
    assert StackSpec.build(StackDirectory(tmp_path), ports).observers == []


def test_nothing_of_it_can_be_reached_from_another_machine(observed: StackSpec) -> None:
    prometheus = next(each for each in observed.observers if each.name == "prometheus")
    viewer = next(each for each in observed.observers if each.name == "zipkin")
    assert "--web.listen-address=127.0.0.1:9029" in prometheus.command
    assert "--armeria.ports[0].ip=127.0.0.1" in viewer.command


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
