"""A container that is taken over can do as little as its process needs."""

import json

import pytest

from tests.support.containers import ENDING, Containers

ONE_SHOT_ROOT = "secrets"
REACHES = {
    "orders-api": {"postgres:5432"},
    "fraud-worker": {"postgres:5432", "kafka:9092", "kafka:9094", "registry-proxy:8080"},
    "notifications-worker": {
        "postgres:5432",
        "kafka:9092",
        "kafka:9094",
        "registry-proxy:8080",
        "mailbox:2525",
    },
    "registry-proxy": {"registry:8080", "postgres:5432", "kafka:9092", "kafka:9094"},
    "mailbox": set[str](),
    "fanout": {"postgres:5432", "kafka:9092", "kafka:9094", "registry-proxy:8080"},
}
PLACES = (
    "postgres:5432",
    "kafka:9092",
    "kafka:9094",
    "kafka:9095",
    "registry:8080",
    "registry-proxy:8080",
    "mailbox:2525",
)
CONNECT = """
import socket
from concurrent.futures import ThreadPoolExecutor
def reaches(place):
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        return place
    except OSError:
        return ""
with ThreadPoolExecutor(16) as pool:
    print(*pool.map(reaches, {places!r}))
"""


def test_every_container_is_confined(containers: Containers) -> None:
    for name, found in containers.inspected().items():
        host = found["HostConfig"]
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, name
        assert not host["Privileged"] and not any(
            "docker.sock" in mount["Source"] for mount in found["Mounts"]
        )
        if name != ONE_SHOT_ROOT:
            assert found["Config"]["User"].split(":")[0] not in ("", "0", "root"), name
            assert not host["CapAdd"], name


def test_nothing_listens_beyond_this_machine(containers: Containers) -> None:
    for name, found in containers.inspected().items():
        bound = [
            place["HostIp"]
            for places in (found["HostConfig"]["PortBindings"] or {}).values()
            for place in places
        ]
        assert set(bound) <= {"127.0.0.1"}, name


def test_the_limits_are_no_more_than_three_gigabytes(containers: Containers) -> None:
    """Even with secrets and setup, which have ended before the services start."""
    limits = [found["HostConfig"]["Memory"] for found in containers.inspected().values()]
    assert sum(limits) <= 3.2 * 2**30


def test_the_tool_and_what_runs_beside_it_stay_within_three_gigabytes(containers: Containers) -> None:
    services = containers.configured()
    assert sum(int(each["mem_limit"]) for name, each in services.items() if name not in ENDING) <= 3.2 * 2**30


def test_the_tool_is_confined_like_every_container(containers: Containers) -> None:
    """It is not among the containers that are looked at, because it runs for one command at a time."""
    tool, worker = containers.configured()["fanout"], containers.configured()["fraud-worker"]
    for setting in ("read_only", "cap_drop", "security_opt", "pids_limit", "init"):
        assert tool[setting] == worker[setting], setting
    assert {"ports", "privileged", "cap_add", "user"}.isdisjoint(tool)
    listed = containers.inside("fanout", "import os; print(os.getuid(), *sorted(os.listdir('/run/secrets')))")
    assert listed.stdout.split() == ["10001", "addresses.json", "token_private_key.pem"]


def test_no_password_shows_in_what_docker_tells(containers: Containers) -> None:
    described = json.dumps(containers.inspected())
    assert not [login for login, password in containers.passwords.items() if password in described]


def test_each_process_has_the_secrets_of_its_own_folder_only(containers: Containers) -> None:
    for name in containers.processes:
        listed = containers.inside(
            name, "import os; print(*sorted(os.listdir('/run/secrets')))"
        ).stdout.split()
        kafka = ["fanout_kafka_password", "fanout_kafka_user"]
        more = kafka if name.endswith("-worker") else ["fanout_token_public_key"]
        assert listed == ["fanout_database_url", *more], name


@pytest.mark.parametrize("name", REACHES)
def test_a_container_reaches_only_what_it_needs(containers: Containers, name: str) -> None:
    done = containers.inside(name, CONNECT.format(places=PLACES))
    assert done.returncode == 0, done.stderr
    reached = set(done.stdout.split())
    assert {place for place in reached if not place.startswith(name)} == REACHES[name]


def test_an_image_holds_one_service(containers: Containers) -> None:
    for name in containers.processes:
        listed = containers.inside(
            name, "import os; print(*os.listdir('/app'), *os.listdir('/app/services'))"
        )
        service = name.rpartition("-")[0]
        own = [entry for entry in listed.stdout.split() if entry != "__pycache__"]
        assert sorted(own) == sorted(["chassis", "schemas", "services", service]), name


def test_the_registry_is_open_for_questions_only(containers: Containers) -> None:
    """By every worker's way to it, each method on each kind of path; and the one question that is a POST."""
    program = """
import http.client, json
def ask(method, path, body=None):
    proxy = http.client.HTTPConnection("registry-proxy", 8080, timeout=10)
    proxy.request(method, path, body, {"Content-Type": "application/json"})
    answer = proxy.getresponse()
    return answer.status, answer.read().decode()
ccompat = "/apis/ccompat/v7"
subject = ccompat + "/subjects/orders-fanout.OrderPlaced"
schema = json.loads(ask("GET", subject + "/versions/1")[1])["schema"]
asked = json.dumps({"schema": schema})
questions = ["/subjects", "/schemas/ids/1", "/schemas/ids/1/subjects?deleted=true",
             "/subjects/orders-fanout.OrderPlaced/versions/1"]
good = [*(ask("GET", ccompat + path)[0] for path in questions), ask("POST", subject, asked)[0]]
paths = [ccompat + "/config", subject, subject + "/versions", subject + "/versions/1", ccompat + "/mode",
         ccompat + "/subjects/new/versions", "/apis/registry/v3/groups", "/apis/registry/v3/admin/rules",
         subject + "/../new/versions", subject + "%2Fversions", "//apis/ccompat/v7/config"]
writes = [(method, path) for method in ("POST", "PUT", "DELETE", "PATCH") for path in paths]
bad = [(write, ask(*write, asked)[0]) for write in writes if write != ("POST", subject)]
print(json.dumps([good, [cell for cell in bad if cell[1] != 403]]))
"""
    done = containers.inside("fraud-worker", program)
    assert done.returncode == 0, done.stderr
    granted, open_cells = json.loads(done.stdout)
    assert granted == [200] * 5
    assert open_cells == []
