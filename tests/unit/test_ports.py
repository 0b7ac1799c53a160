"""A process keeps its port for as long as it exists, whoever comes or goes beside it."""

import stat
from pathlib import Path

import pytest

from fanout.errors import FanoutError
from fanout.local import ports
from fanout.local.ports import Ports
from fanout.local.stack_directory import StackDirectory
from fanout.local.topology import StackSpec
from fanout.repository import services

OLD = ["fraud-worker", "orders-worker"]


@pytest.fixture
def directory(tmp_path: Path) -> StackDirectory:
    return StackDirectory(tmp_path)


def test_a_fresh_directory_gives_ports_in_the_order_of_the_names(directory: StackDirectory) -> None:
    given = ports.assign(directory, ["orders-api", "payments-api", "analytics-api"], OLD)
    assert given == {
        "orders-api": 1,
        "payments-api": 2,
        "analytics-api": 3,
        "fraud-worker": 40,
        "orders-worker": 41,
    }


def test_who_comes_later_moves_nobody(directory: StackDirectory) -> None:
    before = ports.assign(directory, ["orders-api"], OLD)
    after = ports.assign(directory, ["analytics-api", "orders-api"], ["analytics-worker", *OLD])
    assert after == before | {"analytics-api": 2, "analytics-worker": 42}


def test_a_forgotten_services_ports_go_to_the_next(directory: StackDirectory) -> None:
    ports.assign(directory, ["fraud-api"], OLD)
    ports.set_count(directory, "fraud", 2)
    ports.assign(directory, [], ports.worker_names("fraud", 2))
    ports.release(directory, "fraud")
    assert (ports.offsets(directory), ports.counts(directory)) == ({"orders-worker": 41}, {})
    assert ports.assign(directory, [], ["loyalty-worker"])["loyalty-worker"] == 40


def test_fewer_workers_give_back_the_ports_of_the_last_ones(directory: StackDirectory) -> None:
    ports.set_count(directory, "fraud", 3)
    ports.assign(directory, [], ports.worker_names("fraud", 3))
    ports.set_count(directory, "fraud", 2)
    assert ports.offsets(directory) == {"fraud-worker": 40, "fraud-worker-2": 41}
    assert ports.counts(directory) == {"fraud": 2}


def test_when_no_port_is_left_it_says_for_whom(directory: StackDirectory) -> None:
    with pytest.raises(FanoutError, match="s-19-api"):
        ports.assign(directory, [f"s-{number}-api" for number in range(20)], [])


def test_what_is_kept_is_for_its_owner_only(directory: StackDirectory) -> None:
    ports.assign(directory, ["orders-api"], OLD)
    assert stat.S_IMODE(directory.offsets_file.stat().st_mode) == 0o600


def test_a_new_service_leaves_every_other_process_as_it_was(
    directory: StackDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = StackSpec.build(directory, Ports(9000)).service_processes()
    names = services()
    monkeypatch.setattr("fanout.local.topology.services", lambda: sorted([*names, "aardvark"]))
    after = StackSpec.build(directory, Ports(9000)).service_processes()
    assert [process for process in after if not process.name.startswith("aardvark")] == before


def test_each_worker_knows_its_own_name(directory: StackDirectory) -> None:
    ports.set_count(directory, "fraud", 2)
    spec = StackSpec.build(directory, Ports(9000))
    environments = {
        process.name: process.environment.get("FANOUT_INSTANCE") for process in spec.service_processes()
    }
    assert (environments["fraud-worker"], environments["fraud-worker-2"]) == (
        "fraud-worker",
        "fraud-worker-2",
    )
    assert len(set(spec.addresses().workers.values())) == len(spec.services)
