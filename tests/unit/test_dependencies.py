"""What is pinned has a licence that is allowed, is on the page and in the bill, and can be asked about."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from docs.dependencies import __main__ as command
from docs.dependencies.advisories import Unreachable, known_vulnerabilities
from docs.dependencies.locked import Component, components, is_allowed
from docs.dependencies.page import text
from docs.dependencies.sbom import bill
from fanout.local.downloads import pinned
from fanout.repository import REPOSITORY

PINNED = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


@pytest.fixture(scope="module")
def found() -> list[Component]:
    return components()


def test_every_dependency_has_a_licence_that_is_allowed(found: list[Component]) -> None:
    assert [each for each in found if not is_allowed(each)] == []


def test_a_licence_that_only_a_program_in_its_own_container_may_have_is_not_allowed_elsewhere(
    found: list[Component],
) -> None:
    grafana = next(each for each in found if each.name == "grafana/grafana")
    assert is_allowed(grafana) and not is_allowed(replace(grafana, kind="Python"))


def test_everything_that_is_pinned_is_listed(found: list[Component]) -> None:
    names = {each.name for each in found}
    wheels = set(PINNED.findall((REPOSITORY / "requirements.lock").read_text()))
    modules = {
        line.split()[0] for line in (REPOSITORY / "examples/go-consumer/go.sum").read_text().splitlines()
    }
    assert wheels <= names and len(wheels) > 80
    assert {f"{each.group}:{each.name}" for each in pinned()} <= names
    assert {each.name for each in found if each.kind == "Go"} <= modules
    assert {"python", "postgres", "apache/kafka", "apicurio/apicurio-registry"} <= names


def test_a_licence_that_is_not_allowed_is_named(
    found: list[Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    newcomer = replace(found[0], name="newcomer", licence="MIT AND AGPL-3.0-only")
    monkeypatch.setattr(command, "components", lambda: [*found, newcomer])
    assert "newcomer (MIT AND AGPL-3.0-only)" in str(command.main(["--check"]))


def test_the_page_of_licences_is_what_the_locks_say(found: list[Component]) -> None:
    assert command.PAGE.read_text() == text(found)
    newer = [replace(found[0], version="99"), *found[1:]]
    assert command.PAGE.read_text() != text(newer)


def test_the_bill_has_each_dependency_once_with_version_licence_and_address(found: list[Component]) -> None:
    document = bill(found)
    entries = document["components"]
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert len({entry["bom-ref"] for entry in entries}) == len(entries) == len(found)
    for entry in entries:
        assert re.fullmatch(r"pkg:(pypi|maven|golang|docker)/\S+@\S+", entry["purl"]), entry
        assert entry["version"] and entry["licenses"][0]["expression"]
    assert sum("hashes" in entry for entry in entries) == len(pinned())
    assert set(document["dependencies"][0]["dependsOn"]) == {entry["bom-ref"] for entry in entries}


class Database(BaseHTTPRequestHandler):
    """osv.dev as far as it is asked."""

    asked: list[dict[str, Any]]
    answer: Any = None

    def do_POST(self) -> None:
        self.asked += json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        ill = {"vulns": [{"id": "GHSA-1"}, {"id": "CVE-2"}]}
        results = [ill if "/jinja@" in query["package"]["purl"] else {} for query in self.asked]
        body = json.dumps(self.answer or {"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps requests out of the output of the tests."""


@pytest.fixture
def database() -> Iterator[str]:
    Database.asked, Database.answer = [], None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_known_vulnerabilities_are_named_by_what_has_them(found: list[Component], database: str) -> None:
    old = Component("Python", "jinja", "1", "MIT", "", "pkg:pypi/jinja@1")
    assert known_vulnerabilities([*found, old], database) == {old.purl: ["GHSA-1", "CVE-2"]}
    assert len(Database.asked) == 1 + sum(each.kind != "image" for each in found)


@pytest.mark.parametrize("answer", [None, [1], {"results": [{}]}, {"results": None}])
def test_a_database_that_does_not_answer_proves_nothing(
    answer: Any,
    found: list[Component],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Database.answer = answer
    place = database if answer else "http://127.0.0.1:1"
    with pytest.raises(Unreachable):
        known_vulnerabilities(found, place)
    monkeypatch.setattr(command, "known_vulnerabilities", lambda each: known_vulnerabilities(each, place))
    assert command.main(["--audit"]) == 2
    assert "nothing was found out" in capsys.readouterr().err


def test_no_container_but_the_one_that_gives_files_to_their_readers_runs_as_root() -> None:
    """Ours have a user in their image, the others in docker-compose.yml. The running ones are looked at, too."""
    file = (REPOSITORY / "deploy/Dockerfile").read_text()
    stages = {
        stage.split("\n")[0].split(" AS ")[1]: stage
        for stage in re.split(r"^FROM ", file, flags=re.MULTILINE)[1:]
    }
    users = {name: re.findall(r"^USER (\S+)", stage, re.MULTILINE)[-1:] for name, stage in stages.items()}
    assert users["service"] == users["tool"] == ["10001:10001"]
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]
    ours = {
        name for name, each in services.items() if "build" in each or str(each.get("image")).endswith("-tool")
    }
    root = {name for name in services.keys() - ours if str(services[name].get("user", "0")).startswith("0")}
    assert root == {"secrets"} and not [name for name in ours if "user" in services[name]]
    assert services["secrets"]["restart"] == "no" and services["secrets"]["network_mode"] == "none"
