"""A process keeps its port for as long as it exists, whoever comes or goes beside it."""

import stat
from pathlib import Path

import pytest

from fanout.errors import FanoutError
from fanout.local import port_assignment
from fanout.local.ports import Ports
from fanout.local.stack_directory import StackDirectory
from fanout.local.topology import StackSpec
from fanout.repository import services

OLD = ["fraud-worker", "orders-worker"]


@pytest.fixture
def home(tmp_path: Path) -> StackDirectory:
    return StackDirectory(tmp_path)


def test_a_fresh_home_gives_ports_in_the_order_of_the_names(home: StackDirectory) -> None:
    given = port_assignment.give_offsets(home, ["orders-api", "payments-api", "analytics-api"], OLD)
    assert given == {
        "orders-api": 1,
        "payments-api": 2,
        "analytics-api": 3,
        "fraud-worker": 40,
        "orders-worker": 41,
    }


def test_who_comes_later_moves_nobody(home: StackDirectory) -> None:
    before = port_assignment.give_offsets(home, ["orders-api"], OLD)
    after = port_assignment.give_offsets(home, ["analytics-api", "orders-api"], ["analytics-worker", *OLD])
    assert after == before | {"analytics-api": 2, "analytics-worker": 42}


def test_a_forgotten_services_ports_go_to_the_next(home: StackDirectory) -> None:
    port_assignment.give_offsets(home, ["fraud-api"], OLD)
    port_assignment.set_count(home, "fraud", 2)
    port_assignment.give_offsets(home, [], port_assignment.worker_names("fraud", 2))
    port_assignment.forget(home, "fraud")
    assert (port_assignment.offsets(home), port_assignment.counts(home)) == ({"orders-worker": 41}, {})
    assert port_assignment.give_offsets(home, [], ["loyalty-worker"])["loyalty-worker"] == 40


def test_fewer_workers_give_back_the_ports_of_the_last_ones(home: StackDirectory) -> None:
    port_assignment.set_count(home, "fraud", 3)
    port_assignment.give_offsets(home, [], port_assignment.worker_names("fraud", 3))
    port_assignment.set_count(home, "fraud", 2)
    assert port_assignment.offsets(home) == {"fraud-worker": 40, "fraud-worker-2": 41}
    assert port_assignment.counts(home) == {"fraud": 2}


def test_when_no_port_is_left_it_says_for_whom(home: StackDirectory) -> None:
    with pytest.raises(FanoutError, match="s-19-api"):
        port_assignment.give_offsets(home, [f"s-{number}-api" for number in range(20)], [])


def test_what_is_kept_is_for_its_owner_only(home: StackDirectory) -> None:
    port_assignment.give_offsets(home, ["orders-api"], OLD)
    assert stat.S_IMODE(home.offsets_file.stat().st_mode) == 0o600


def test_a_new_service_leaves_every_other_process_as_it_was(
    home: StackDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = StackSpec.build(home, Ports(9000)).service_processes()
    names = services()
    monkeypatch.setattr("fanout.local.topology.services", lambda: sorted([*names, "aardvark"]))
    after = StackSpec.build(home, Ports(9000)).service_processes()
    assert [process for process in after if not process.name.startswith("aardvark")] == before


def test_each_worker_knows_its_own_name(home: StackDirectory) -> None:
    port_assignment.set_count(home, "fraud", 2)
    drawn = StackSpec.build(home, Ports(9000))
    told = {process.name: process.environment.get("FANOUT_INSTANCE") for process in drawn.service_processes()}
    assert (told["fraud-worker"], told["fraud-worker-2"]) == ("fraud-worker", "fraud-worker-2")
    assert len(set(drawn.addresses().workers.values())) == len(drawn.services)
