"""What `fanout doctor` says of each planted trouble: how bad it is, what it means, and the command that mends it."""

import asyncio
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from fanout.commands.doctor import conclusion, show
from fanout.doctor import (
    clocks,
    contracts,
    events,
    examine,
    facts,
    machine,
    ports,
    processes,
    topics,
    versions,
)
from fanout.doctor.findings import EXIT_CODES, Finding, State, worst
from fanout.doctor.surroundings import Surroundings
from fanout.errors import FanoutError, Unreachable
from fanout.lag.services import Outbox
from fanout.lag.topics import TopicLag
from fanout.local.ports import Ports
from fanout.local.stack_directory import MARK, StackDirectory
from fanout.recover.missing import Comparison
from fanout.running import Addresses
from tests.support.stack import free_base

GB = 1_000_000_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING = Addresses("127.0.0.1:1", "http://127.0.0.1:1", {}, {}, {})


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """A directory in which no stack runs."""
    return Surroundings(StackDirectory(tmp_path), Ports(24_000))


def only(found: Iterable[Finding]) -> Finding:
    [finding] = found
    return finding


@pytest.mark.parametrize(("free", "state"), [(10 * GB, "ok"), (2 * GB, "watch"), (GB // 2, "wrong")])
def test_a_disk_that_fills_up_is_watched_and_a_full_one_is_wrong(free: int, state: State) -> None:
    finding = machine.room(Path("/data"), free)
    assert finding.state == state and "/data" in finding.what
    assert state == "ok" or ("Kafka and Postgres stop" in finding.meaning and "FANOUT_HOME" in finding.remedy)


@pytest.mark.parametrize(
    ("available", "runs", "state"),
    [
        (3 * GB, False, "ok"),
        (GB, False, "watch"),
        (GB, True, "ok"),
        (GB // 3, True, "watch"),
        (1, True, "wrong"),
    ],
)
def test_memory_has_to_be_there_for_a_start_and_some_of_it_while_it_runs(
    available: int, runs: bool, state: State
) -> None:
    assert machine.free_memory(available, runs).state == state


def test_a_proxy_for_this_machine_is_watched_and_one_with_an_exception_is_not() -> None:
    proxy = {"HTTP_PROXY": "http://proxy:3128"}
    finding = machine.settings(proxy)
    assert (finding.state, finding.remedy) == ("watch", "export NO_PROXY=127.0.0.1,localhost")
    assert machine.settings(proxy | {"no_proxy": "localhost,10.0.0.0/8"}).state == "ok"
    assert machine.settings({"PGSSLMODE": "require"}).what.startswith("PGSSLMODE is set; neither fanout")


def test_a_port_that_is_taken_is_named_with_who_has_it(around: Surroundings) -> None:
    around = Surroundings(around.directory, Ports(free_base()))
    with socket.create_server(("127.0.0.1", around.ports.kafka)):
        finding = only(ports.ports(around))
    assert (
        finding.state == "wrong"
        and f"listens on port {around.ports.kafka}, which kafka needs" in finding.what
    )
    assert "(pid " in finding.what and "FANOUT_PORT_BASE" in finding.remedy
    assert only(ports.ports(around)).state == "ok"


def test_a_stopped_process_is_watched_and_a_failing_one_is_wrong() -> None:
    found = list(processes.states({"kafka": "STOPPED", "fraud-worker": "FATAL", "orders-api": "RUNNING"}))
    assert [(each.state, each.remedy) for each in found] == [
        ("watch", "fanout start kafka"),
        ("wrong", "fanout logs fraud-worker, then fanout start fraud-worker"),
    ]
    finding = only(processes.restarts({"fraud-worker": 9, "kafka": 1}))
    assert finding.state == "watch" and "fraud-worker was started 9 times" in finding.what


def test_what_an_earlier_run_left_behind_is_found_by_its_mark(around: Surroundings) -> None:
    sleeper = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    for stack in (around.directory.path, around.directory.path / "deleted"):
        with subprocess.Popen(
            sleeper, env={MARK: str(stack)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as left:
            assert left.stdout and left.stdout.readline()
            found = [each for each in processes.left_behind(around) if str(stack) in each.what]
            left.communicate()
        finding = only(found)
        if stack.exists():
            assert (finding.state, finding.remedy) == ("wrong", "fanout down")
        else:
            assert finding.state == "watch" and f"deleted stack {stack} still run" in finding.what
    assert not [each for each in processes.left_behind(around) if str(around.directory.path) in each.what]


def test_packages_other_than_the_pinned_ones_are_named() -> None:
    pinned = {"aiokafka": "0.14.0", "pytest": "9.2.0", "httpx": "0.28"}
    finding = versions.differing(
        "Python 3.11", pinned, {"aiokafka": "0.15.0", "httpx": "0.28", "pytest": None}
    )
    assert (finding.state, finding.remedy) == ("watch", "make install")
    assert "aiokafka 0.15.0 (pinned: 0.14.0)" in finding.what and "httpx" not in finding.what
    assert versions.differing("Python 3.11", pinned, dict(pinned)).state == "ok"


def test_the_packages_of_this_environment_are_the_pinned_ones(around: Surroundings) -> None:
    finding = only(versions.packages(around))
    assert finding.state == "ok", finding.what


@pytest.mark.parametrize(
    ("shown", "state"), [("18.4", "ok"), ("15.1", "ok"), ("14.9", "wrong"), ("", "wrong")]
)
def test_a_postgres_that_is_too_old_is_wrong(shown: str, state: State) -> None:
    assert versions.postgres_is(shown).state == state


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (0, "ok", "is right"),
        (-1, "ok", "is right"),
        (-60, "watch", "60 s behind"),
        (65, "watch", "60 s ahead"),
    ],
)
def test_a_clock_that_is_off_is_watched(seconds: int, state: State, said: str) -> None:
    shown = NOON + timedelta(seconds=seconds)
    finding = clocks.compared("Kafka", shown, NOON, NOON + timedelta(seconds=5))
    assert finding.state == state and said in finding.what


def test_a_registry_that_takes_breaking_changes_or_lacks_a_contract_is_wrong() -> None:
    found = contracts.lowered({"": "NONE", "orders-fanout.OrderPlaced": "BACKWARD"})
    assert {each.state for each in found} == {"wrong"} and {each.remedy for each in found} == {"fanout setup"}
    assert [each.what for each in found] == [
        "compatibility NONE by default",
        "compatibility BACKWARD of orders-fanout.OrderPlaced",
    ]
    assert only(contracts.lowered({})).state == "ok"
    assert contracts.missing(["orders-fanout.OrderPlaced v2"]).state == "wrong"


def test_a_topic_that_is_missing_or_is_set_otherwise_is_named() -> None:
    assert only(topics.missing(["orders"])).state == "wrong"
    assert only(topics.partitions({"orders": (6, 6), "fraud": (6, 12)})).state == "watch"
    settings = {"orders": {"compression.type": ("uncompressed", "zstd")}, "fraud": {}}
    finding = only(topics.different(settings))
    assert (finding.state, finding.remedy) == ("wrong", "fanout setup")
    assert finding.what == "topic orders has compression.type=zstd, not uncompressed"
    assert only(topics.different({"orders": {}})).state == "ok"


def test_rows_that_cannot_be_sent_are_wrong_and_old_ones_are_watched(around: Surroundings) -> None:
    backlogs = [Outbox("orders", 3, 90.0, 0), Outbox("fraud", 0, None, 2), Outbox("payments", 5, 0.2, 0)]
    old, refused = events.unsent(backlogs, around)
    assert (old.state, old.remedy) == ("watch", "fanout start orders-worker")
    assert (refused.state, refused.remedy) == ("wrong", "fanout outbox ls fraud")
    assert only(events.unsent(backlogs[2:], around)).state == "ok"


def test_a_consumer_that_is_behind_is_started_if_nobody_reads_and_else_looked_into(
    around: Surroundings,
) -> None:
    late = [TopicLag("fraud", "orders", 9, 70.0), TopicLag("orders", "payments", 9, 70.0)]
    absent, alive = events.behind(late, {"orders"}, around)
    assert absent.remedy == "fanout start fraud-worker" and "9 messages and 70 s behind" in absent.what
    assert alive.remedy == "fanout logs orders-worker"


def test_dead_letters_are_somebodys_decision() -> None:
    finding = events.parked(Counter(fraud=2, orders=1))
    assert (finding.state, finding.remedy) == ("watch", "fanout dlq ls")
    assert "3 dead letters for you to decide: fraud 2, orders 1" in finding.what
    assert events.parked(Counter()).state == "ok"


def test_what_kafka_has_lost_is_sent_again_by_the_command_that_is_named() -> None:
    finding = events.resend(50, events.Gone(["orders"], 0))
    assert (finding.state, finding.remedy) == ("wrong", "fanout resend --lost")
    assert "lost 50 messages that consumers still need (made anew: orders)" in finding.what
    assert events.resend(0, events.Gone(["orders"], 0)).state == "ok"


def test_an_outbox_that_has_everything_is_no_finding(around: Surroundings) -> None:
    assert facts.lacking("payments", Comparison(), around) == []


async def test_a_server_that_does_not_answer_is_wrong_once_and_stops_no_other_check(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def silent(_: Surroundings) -> list[Finding]:
        asked.append("Kafka")
        raise Unreachable("Kafka", NOTHING.kafka)

    def refused(_: Surroundings) -> list[Finding]:
        raise FanoutError("the database of orders refuses a statement")

    checks = {
        "topics": silent,
        "consumers": silent,
        "outboxes": refused,
        "disk": lambda _: [Finding("ok", "disk", "large")],
    }
    monkeypatch.setattr(examine, "CHECKS", checks)
    runs = Surroundings(around.directory, around.ports, NOTHING)
    found = await examine.examine(runs)
    assert [each.state for each in found] == ["wrong", "unasked", "unasked", "ok"]
    assert asked == ["Kafka"], "nobody waits for it a second time"
    stopped = Surroundings(around.directory, around.ports, NOTHING, {"kafka": "STOPPED"})
    assert [each.state for each in await examine.examine(stopped)] == ["unasked", "unasked", "unasked", "ok"]


def test_without_a_stack_the_machine_is_examined_all_the_same(around: Surroundings) -> None:
    found = asyncio.run(examine.examine(around))
    assert {"ports", "disk", "memory", "environment", "versions"} <= {each.check for each in found}
    stack = next(each for each in found if each.check == "processes")
    assert (stack.state, stack.remedy) == ("watch", "fanout up")


def test_in_a_container_what_needs_the_engine_is_said_with_the_command(around: Surroundings) -> None:
    inside = Surroundings(around.directory, around.ports, in_container=True)
    found = [only(check(inside)) for check in (ports.ports, machine.disk, processes.processes)]
    assert all(each.state == "unasked" and "docker" in each.what for each in found)
    assert list(processes.left_behind(inside)) == []


@pytest.mark.parametrize(
    ("states", "code"), [(["ok", "unasked"], 0), (["ok", "watch"], 3), (["watch", "wrong", "ok"], 1)]
)
def test_the_exit_code_is_that_of_the_worst_finding(states: list[State], code: int) -> None:
    assert EXIT_CODES[worst(Finding(state, "disk", "so") for state in states)] == code


def test_the_page_says_what_it_means_and_what_mends_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Finding(
            "wrong", "topics", "Kafka has no topic [b]orders[/b]\x1b[31m", "nobody reads it", "fanout setup"
        ),
        Finding("ok", "disk", "large"),
    ]
    show(found, Console(width=200))
    out = capsys.readouterr().out
    assert "[b]orders[/b]" in out and "\x1b" not in out
    assert "nobody reads it" in out and "→ fanout setup" in out
    assert conclusion(found) == "1 wrong, 1 thing well"
