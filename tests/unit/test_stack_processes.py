"""What supervisor is told, and what is read back from its log."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from fanout.commands.logs import read_from
from fanout.local.ports import Ports
from fanout.local.process import Process, environment
from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import configuration, last_lines, starts
from fanout.local.topology import StackSpec


@pytest.fixture
def spec(tmp_path: Path) -> StackSpec:
    return StackSpec.build(StackDirectory(tmp_path), Ports(9000))


def test_an_api_process_is_told_of_neither_kafka_nor_registry(spec: StackSpec) -> None:
    apis = [process for process in spec.service_processes() if process.name.endswith("-api")]

    assert {process.name for process in apis} >= {"orders-api", "payments-api"}
    for process in apis:
        assert not {"FANOUT_KAFKA", "FANOUT_REGISTRY_URL"} & process.environment.keys()


def test_api_processes_have_the_public_key_and_nobody_the_private_one(spec: StackSpec) -> None:
    private = spec.directory.token_key.read_text()
    for process in [*spec.service_processes(), *spec.infrastructure()]:
        has_public = process.environment.get("FANOUT_TOKEN_PUBLIC_KEY") == spec.token_public_key
        assert has_public is process.name.endswith("-api")
        described = repr(process)
        assert "token_private_key" not in described and private.splitlines()[1] not in described


def test_our_own_settings_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_KAFKA", "127.0.0.1:9")

    assert "FANOUT_KAFKA" not in environment({})


def test_no_two_processes_share_a_port(spec: StackSpec) -> None:
    processes = [*spec.infrastructure(), *spec.service_processes()]
    used = [port for process in processes for port in process.ports]

    assert len(used) == len(set(used))


def test_orders_and_payments_keep_their_ports_whatever_services_come(spec: StackSpec) -> None:
    apis = spec.addresses().apis

    assert (apis["orders"], apis["payments"]) == ("http://127.0.0.1:9001", "http://127.0.0.1:9002")


def test_a_directory_with_a_percent_sign_and_a_space_is_passed_on_whole(tmp_path: Path) -> None:
    command = ["/odd place/100%/run", "-D", "a b"]

    config = RawConfigParser(strict=False)
    config.read_string(configuration(StackDirectory(tmp_path), [Process("thing", command)], "secret"))

    assert config["program:thing"]["command"] == "'/odd place/100%%/run' -D 'a b'"


def test_starts_are_counted_across_a_rotated_log(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    older, newer = directory.supervisor_logs
    older.write_text("2026 INFO spawned: 'kafka' with pid 1\n2026 INFO spawned: 'registry' with pid 2\n")
    newer.write_text(
        "2026 WARN exited: kafka (terminated by SIGKILL)\n2026 INFO spawned: 'kafka' with pid 3\n"
    )

    assert starts(directory) == {"kafka": 2, "registry": 1}


def test_the_last_lines_are_those(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    directory.logs.mkdir()
    (directory.logs / "kafka.log").write_text("one\ntwo\nthree\n")

    assert last_lines(directory, "kafka", 2) == "two\nthree"
    assert last_lines(directory, "never-started") == ""


def test_following_a_log_gives_whole_lines_and_starts_again_after_a_rotation(tmp_path: Path) -> None:
    log = tmp_path / "kafka.log"
    log.write_text("one\ntw")
    assert read_from(log, 0) == ("one", 4)

    log.write_text("one\ntwo\n")
    assert read_from(log, 4) == ("two", 8)

    log.write_text("new\n")
    assert read_from(log, 8) == ("new", 4)
