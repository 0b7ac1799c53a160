"""The operator's tool on the running stack: what it says, and what it refuses in one sentence."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from fanout.local.stack_directory import StackDirectory
from fanout.local.supervisor import Supervisor
from tests.support.stack import REPOSITORY, Stack, free_base
from tests.support.system import System, until

MEMORY_LIMIT_BYTES = 2.2 * 1024**3


def test_setting_up_again_changes_nothing(stack: Stack) -> None:
    done = stack.fanout("setup")
    assert (done.returncode, (done.stdout + done.stderr).strip()) == (0, "nothing changed")


def test_status_shows_every_process_and_the_sum_of_their_memory(stack: Stack) -> None:
    status = json.loads(stack.must("status", "--json"))
    names = {process["process"] for process in status["processes"]}
    assert {"postgres", "kafka", "registry", "orders-api", "orders-worker", "fraud-worker"} <= names
    parts = sum(process["memory_bytes"] for process in status["processes"])
    assert 0 < parts == status["memory_bytes"] < MEMORY_LIMIT_BYTES


async def test_lag_is_seen_from_outside_while_a_consumer_is_frozen(system: System) -> None:
    await system.fanout("kill", "fraud-worker", "--signal", "STOP")
    try:
        for _ in range(5):
            await system.order()
        await until(lambda: fraud_is_behind(system, messages=5, seconds=1.0))
    finally:
        await system.fanout("kill", "fraud-worker", "--signal", "CONT")
    await system.settled()
    await until(lambda: fraud_has_caught_up(system))


async def fraud_is_behind(system: System, messages: int, seconds: float) -> bool:
    row = await fraud_lag(system)
    return bool(row["messages"] >= messages and row["seconds"] >= seconds)


async def fraud_has_caught_up(system: System) -> bool:
    row = await fraud_lag(system)
    return bool(row["messages"] == 0)


async def fraud_lag(system: System) -> dict[str, Any]:
    lag = json.loads(await system.fanout("lag", "--json"))
    return next(row for row in lag["groups"] if (row["group"], row["topic"]) == ("fraud", "orders"))


def test_what_is_started_while_it_stops_runs_afterwards(stack: Stack) -> None:
    supervisor = Supervisor(StackDirectory(stack.home))
    supervisor.request_stop("fraud-worker")
    assert supervisor.state("fraud-worker").state == "STOPPING"
    stack.must("start", "fraud-worker")
    assert supervisor.state("fraud-worker").is_alive


def test_an_api_process_has_neither_kafka_nor_registry_in_its_environment(stack: Stack) -> None:
    status = json.loads(stack.must("status", "--json"))
    pids = {process["process"]: process["pid"] for process in status["processes"]}
    for name in ("orders-api", "payments-api"):
        given = psutil.Process(pids[name]).environ()
        assert given["FANOUT_DATABASE_URL"]
        assert not {"FANOUT_KAFKA", "FANOUT_REGISTRY_URL"} & set(given)


def test_a_service_cannot_read_anothers_database(stack: Stack) -> None:
    url = stack.addresses.databases["fraud"].replace("+asyncpg", "").removesuffix("fraud") + "orders"
    asked = "import asyncio, asyncpg, sys; asyncio.run(asyncpg.connect(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", asked, url], capture_output=True, text=True, check=False)
    assert "permission denied for database" in done.stderr


@pytest.mark.parametrize("command", ["verify", "lag", "status", "setup", "load"])
def test_a_command_on_a_stopped_system_says_so(tmp_path: Path, command: str) -> None:
    done = elsewhere(tmp_path, command)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: not running: fanout up"


def test_an_unknown_order_is_one_sentence(stack: Stack) -> None:
    for order, sentence in {"no-uuid": "UUID", "01a20b70-1b07-75fd-9c37-e64d28634202": "order"}.items():
        done = stack.fanout("order", order)
        assert done.returncode != 0
        assert sentence in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_process_is_answered_with_the_known_ones(stack: Stack) -> None:
    done = stack.fanout("kill", "nobody-worker")
    assert done.returncode == 2
    assert "fraud-worker" in done.stderr


def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    base = free_base()
    with listening(base + 21):
        done = elsewhere(tmp_path, "up", FANOUT_PORT_BASE=str(base))
    assert done.returncode == 1
    assert f"port {base + 21}" in done.stderr and "FANOUT_PORT_BASE" in done.stderr
    assert not StackDirectory(tmp_path).supervisor_pid.exists()


def test_no_network_and_an_empty_cache_is_one_sentence(tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    cache, base = tmp_path / "cache", str(free_base())
    done = elsewhere(tmp_path / "home", "up", XDG_CACHE_HOME=str(cache), FANOUT_PORT_BASE=base, **nowhere)
    *progress, last = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert last.startswith("error: ") and "could not be fetched" in last
    assert all(line.startswith("fetching") for line in progress)
    assert not [file for file in cache.rglob("*") if file.is_file() and file.stat().st_size]


def elsewhere(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fanout", *arguments]
    environment = os.environ | {"FANOUT_HOME": str(home)} | settings
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        yield
