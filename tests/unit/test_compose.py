"""What is decided without Docker: who has which rights, which secrets there are, and what refuses with a sentence."""

import socket
from pathlib import Path

import pytest

from chassis.config import Broker, UnreadableSecrets, read_settings
from chassis.service import load
from fanout.compose import control, docker
from fanout.compose.permissions import rights
from fanout.compose.processes import OPERATOR, SETUP, apis, processes, workers
from fanout.compose.secrets import files, logins
from fanout.errors import BadUsage, BusyPort
from fanout.local.topology import services

PASSWORDS = {name: f"<{name}>" for name in logins()}


def test_only_workers_the_operator_and_setup_know_a_password_of_kafka() -> None:
    told = {path.split("/")[0] for path, _, _ in files(PASSWORDS, 1000) if "kafka" in path}
    assert told == {"kafka", *(worker.name for worker in workers())}
    assert not [
        path
        for path, _, _ in files(PASSWORDS, 1000)
        for api in apis()
        if path.startswith(f"{api.name}/fanout_k")
    ]


def test_nobody_but_setup_is_told_what_is_anothers() -> None:
    shared = {"postgres", "registry", "broker", "setup"}
    for path, _, text in files(PASSWORDS, 1000):
        owner = path.split("/")[0].replace("_", "-")
        known = {name for name, password in PASSWORDS.items() if password in text} - shared
        assert owner == SETUP or len({name.replace("_", "-") for name in known} - {owner}) == 0, path


def test_a_topic_of_events_has_one_writer() -> None:
    written = [right for right in rights(map(load, services())) if right.operation == "write"]
    events = [right for right in written if not right.name.endswith((".dlq", ".retry"))]
    assert len({right.name for right in events}) == len(events)


def test_the_operator_writes_nothing() -> None:
    assert {right.operation for right in rights(map(load, services())) if right.principal == OPERATOR} == {
        "read"
    }


def test_every_process_has_a_login_of_its_own() -> None:
    assert len(set(logins())) == len(logins())
    assert {process.login for process in processes()} <= set(logins())


def test_settings_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_SECRETS", str(tmp_path))
    monkeypatch.setenv("FANOUT_KAFKA", "kafka:9092")
    (tmp_path / "fanout_database_url").write_text("postgresql+asyncpg://a:b@c/d")
    (tmp_path / "fanout_kafka_user").write_text("fraud_worker")
    (tmp_path / "fanout_kafka_password").write_text("secret")
    assert read_settings().database_url == "postgresql+asyncpg://a:b@c/d"
    assert read_settings().broker == Broker("kafka:9092", "fraud_worker", "secret")


def test_a_folder_of_secrets_that_is_not_there_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_SECRETS", "/nowhere")
    with pytest.raises(UnreadableSecrets, match=r"/nowhere cannot be read .*docker compose up secrets"):
        read_settings()


@pytest.fixture
def fake_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, which says what the test wants to hear."""
    file = tmp_path / "docker"
    file.touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return file


def test_an_old_compose_is_refused_with_the_version_it_takes(fake_docker: Path) -> None:
    fake_docker.write_text("#!/bin/sh\necho 2.5.1\n")
    with pytest.raises(BadUsage, match=r"docker compose 2\.5\.1 is too old .* install 2\.20 or newer"):
        docker.require_recent()


def test_a_daemon_that_is_away_is_said_in_a_sentence(fake_docker: Path) -> None:
    fake_docker.write_text(
        "#!/bin/sh\necho 'Cannot connect to the Docker daemon at unix:///x.' >&2; exit 1\n"
    )
    with pytest.raises(BadUsage, match="daemon does not answer"):
        docker.containers()


def test_a_port_in_use_is_named_with_the_setting_that_moves_it(fake_docker: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        ports = f'{{"services": {{"orders-api": {{"ports": [{{"published": "{port}"}}]}}}}}}'
        fake_docker.write_text(
            f"#!/bin/sh\ncase \"$*\" in *version*) echo 2.26.1;; *config*) echo '{ports}';; esac\n"
        )
        with pytest.raises(
            BusyPort, match=rf"port {port}, wanted by orders-api, .* FANOUT_ORDERS_PORT in \.env"
        ):
            control.up()
