"""What supervisor is told, and what is read back from its log."""

import re
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from fanout.commands.logs import Printer, read_from
from fanout.commands.status import Row, _cells
from fanout.environment import for_process
from fanout.errors import BadUsage
from fanout.local import kafka
from fanout.local.ports import Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import configuration, last_lines, starts
from fanout.local.topology import StackSpec
from fanout.repository import REPOSITORY


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


def test_the_registry_writes_dates_without_the_offset_of_a_time_zone(spec: StackSpec) -> None:
    """The pattern is one of Java, where x is that offset and Y the year of the week."""
    [registry] = [process for process in spec.infrastructure() if process.name == "registry"]
    pattern = registry.environment["QUARKUS_LOG_CONSOLE_FORMAT"]
    assert "%d{yyyy-MM-dd HH:mm:ss} " in pattern
    settings = (REPOSITORY / "deploy" / "registry" / "application.properties").read_text().splitlines()
    assert f"quarkus.log.console.format={pattern}" in settings


def test_our_own_settings_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANOUT_KAFKA", "127.0.0.1:9")

    assert "FANOUT_KAFKA" not in for_process({})


def test_how_long_rows_are_kept_is_told_to_all_workers_alike(
    spec: StackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANOUT_CLOSED_DAYS", "365")
    monkeypatch.delenv("FANOUT_RETENTION_DAYS", raising=False)
    workers = [process for process in spec.service_processes() if "worker" in process.command]
    assert {process.environment["FANOUT_CLOSED_DAYS"] for process in workers} == {"365"}
    assert not any("FANOUT_RETENTION_DAYS" in process.environment for process in workers)


def test_variables_of_opentelemetry_reach_every_service_process_and_no_server(
    spec: StackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
        "FANOUT_TRACE_EVENTS": "batch",
    }
    for name, value in (given | {"OTEL_SERVICE_NAME": "one name for all"}).items():
        monkeypatch.setenv(name, value)
    for process in spec.service_processes():
        assert given.items() <= process.environment.items(), process.name
        assert "OTEL_SERVICE_NAME" not in process.environment
    assert not [each.name for each in spec.infrastructure() if given.keys() & each.environment.keys()]


def test_no_two_processes_share_a_port(spec: StackSpec) -> None:
    processes = [*spec.infrastructure(), *spec.service_processes()]
    used = [port for process in processes for port in process.ports]

    assert len(used) == len(set(used))


def test_orders_and_payments_keep_their_ports_whatever_services_come(spec: StackSpec) -> None:
    apis = spec.addresses().apis

    assert (apis["orders"], apis["payments"]) == ("http://127.0.0.1:9001", "http://127.0.0.1:9002")


def test_no_path_is_in_the_configuration_of_supervisor(tmp_path: Path, spec: StackSpec) -> None:
    processes = [
        *spec.infrastructure(),
        *spec.service_processes(),
        Process("thing", ["/odd #place/100%/run"]),
    ]

    text = configuration(StackDirectory(tmp_path), processes, "secret")

    for path in (str(tmp_path), str(REPOSITORY), sys.executable, "/odd"):
        assert path not in text
    assert text.isascii() and "%" not in text and ";" not in text and "#" not in text


def test_a_changed_command_folder_or_variable_changes_the_configuration(tmp_path: Path) -> None:
    """Supervisor restarts what its own configuration says has changed, and the description is in another file."""
    plain = Process("thing", ["run"])
    others = [
        Process("thing", ["run", "faster"]),
        Process("thing", ["run"], {"A": "1"}),
        Process("thing", ["run"], folder=tmp_path),
    ]

    texts = {configuration(StackDirectory(tmp_path), [each], "secret") for each in [plain, *others]}

    assert len(texts) == 4


def test_the_settings_of_kafka_name_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read as Latin-1, and a comma divides folders."""
    monkeypatch.setattr(kafka, "_format", lambda *_: None)
    directory = StackDirectory(tmp_path / "münchen, #1")

    kafka.prepare(directory, Ports(9000), [])

    assert "log.dirs=data\n" in (directory.kafka / "server.properties").read_text()
    assert (directory.kafka / "log4j2.properties").exists()
    [process] = [kafka.process(directory, Ports(9000), [])]
    assert process.folder == directory.kafka
    assert [part for part in process.command if "münchen" in part] == [f"-Djava.io.tmpdir={directory.kafka}"]


def test_a_cache_whose_path_divides_a_class_path_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/a:b")

    with pytest.raises(BadUsage, match="XDG_CACHE_HOME"):
        kafka.process(StackDirectory(Path("/tmp/x")), Ports(9000), [])


def test_a_stopped_process_has_no_uptime() -> None:
    stopped, running = Row("kafka", "STOPPED", None, 0, 0, 0), Row("kafka", "RUNNING", 7, 61, 2, 5_000_000)
    assert _cells(stopped) == ("kafka", "STOPPED", "-", "-", 0, "0 MB")
    assert [str(cell) for cell in _cells(running)] == ["kafka", "RUNNING", "7", "0:01:01", "2", "5 MB"]


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


def test_lines_of_several_processes_have_their_names_and_colours() -> None:
    written = StringIO()
    console = Console(
        file=written, force_terminal=True, color_system="standard", soft_wrap=True, highlight=False
    )
    printer = Printer(console, ["fraud-worker", "kafka"])

    printer.show("kafka", ['{"level": "error", "event": "no leader"}', "plain \x1b[2J"])
    printer.show("orders-worker-2", ["added later"])

    error, plain, later = written.getvalue().splitlines()
    assert re.fullmatch(r"\x1b\[32mkafka        \| \x1b\[0m\x1b\[31m\{.*\}\x1b\[0m", error)
    assert plain.endswith("plain \N{REPLACEMENT CHARACTER}[2J")
    assert Text.from_ansi(later).plain == "orders-worker-2 | added later"


def test_the_lines_of_a_single_process_are_printed_as_they_are() -> None:
    written = StringIO()
    Printer(Console(file=written, soft_wrap=True), ["kafka"]).show("kafka", ["x" * 300, "[bold]"])
    assert written.getvalue() == "x" * 300 + "\n[bold]\n"
