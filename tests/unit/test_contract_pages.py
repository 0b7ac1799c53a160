"""`python -m docs.contracts` writes and compares the documents; the page is complete, valid, and loads nothing."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

import schemas.files
from docs.contracts import __main__ as command
from docs.contracts.messages import message_of
from docs.contracts.openapi import documents
from docs.contracts.page import fields, topics, type_name
from fanout.repository import REPOSITORY, services_with_api
from schemas import EVENTS, OrderPlaced
from tests.support.contract_documents import DOCS, read_document
from tests.support.thing_made import LINE, SIZE, field, thing

PAGE = DOCS / "contracts.html"
VOID = {"meta", "link", "br", "hr", "img", "input"}
LARGEST_PAGE = 200_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the documents as they are committed."""
    for path in command.files():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy2(DOCS / path, tmp_path / path)
    return tmp_path


def test_the_committed_documents_are_what_contracts_and_services_say() -> None:
    assert command.drift(DOCS, command.files()) == []


def test_documents_that_are_up_to_date_pass_the_check(folder: Path) -> None:
    assert command.main(["--check"], folder) == 0


@pytest.mark.parametrize("path", ["asyncapi.yaml", "contracts.html", "openapi/orders.json"])
def test_a_document_that_was_changed_by_hand_is_named(
    path: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / path).write_text((folder / path).read_text().replace("OrderPlaced", "OrderMade", 1) + "\n")
    assert command.main(["--check"], folder) == 1
    assert capsys.readouterr().err == f"not what contracts and services say: docs/{path}: run make docs\n"


def test_generated_code_that_cannot_be_imported_is_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "schemas", tmp_path / "schemas", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "schemas/__init__.py").write_text("<<<<<<< HEAD\n")
    for package in ("docs", "fanout", "chassis", "services"):
        (tmp_path / package).symlink_to(REPOSITORY / package)
    done = subprocess.run(
        [sys.executable, "-m", "docs.contracts", "--check"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the generated code of schemas/ cannot be imported (SyntaxError: ")
    assert done.stderr.endswith("make schemas, then try again\n") and done.stderr.count("\n") == 1


def test_a_document_that_is_missing_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "openapi/orders.json").unlink()
    assert command.main(["--check"], folder) == 1
    assert "docs/openapi/orders.json" in capsys.readouterr().err


def test_the_document_of_an_api_that_is_gone_is_named_and_then_deleted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = folder / "openapi/loyalty.json"
    gone.write_text("{}")
    assert command.main(["--check"], folder) == 1
    assert "docs/openapi/loyalty.json" in capsys.readouterr().err
    assert command.main([], folder) == 0
    assert not gone.exists()


def test_the_documents_are_written_where_there_are_none(tmp_path: Path) -> None:
    assert command.main([], tmp_path) == 0
    assert command.drift(tmp_path, command.files()) == []


def test_an_unknown_option_is_answered_with_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--chekc"]) == 2
    assert "usage: python -m docs.contracts [--check]" in capsys.readouterr().err


def test_a_contract_that_changed_changes_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = message_of(OrderPlaced)
    shutil.copytree(schemas.files.ROOT, tmp_path / "schemas")
    contract = tmp_path / "schemas/order_placed/v1.avsc"
    contract.write_text(contract.read_text().replace("The customer who placed the order.", "Who placed it."))
    monkeypatch.setattr(schemas.files, "ROOT", tmp_path / "schemas")
    assert message_of(OrderPlaced) != before


@pytest.mark.parametrize("service", services_with_api())
def test_the_openapi_document_has_every_route_of_the_app(service: str) -> None:
    committed = json.loads((DOCS / f"openapi/{service}.json").read_text())
    described = {
        (method.upper(), path) for path, operations in committed["paths"].items() for method in operations
    }
    assert described == set(routes_of(service))


def routes_of(service: str) -> Iterator[tuple[str, str]]:
    app = importlib.import_module(f"services.{service}.api").app
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            yield from ((method, route.path) for method in route.methods or ())


def test_openapi_documents_have_sorted_keys() -> None:
    for service in documents():
        text = (DOCS / f"openapi/{service}.json").read_text()
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class Page(HTMLParser):
    """Reads a page: its ids, links, what it would load, its text, and tags that are not closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.misplaced: list[str] = []
        self.feed(text)
        self.close()
        self.misplaced += self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "srcset", "data", "action", "style"):
                self.loads.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.misplaced.append(tag)

    def handle_data(self, text: str) -> None:
        self.text += text


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(PAGE.read_text())


def test_the_page_closes_every_tag_and_gives_each_id_once(page: Page) -> None:
    assert page.misplaced == []
    assert len(page.ids) == len(set(page.ids))
    assert PAGE.read_text().startswith("<!DOCTYPE html>")


def test_every_link_of_the_page_leads_to_an_anchor_or_a_file(page: Page) -> None:
    assert len(page.links) > len(EVENTS)
    for link in page.links:
        file, _, anchor = link.partition("#")
        assert anchor in page.ids if not file else (DOCS / file).is_file(), link


def test_the_page_loads_nothing(page: Page) -> None:
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    assert not re.search(r"url\(|@import|@font-face", PAGE.read_text())
    assert PAGE.stat().st_size < LARGEST_PAGE


def test_a_page_with_a_mistake_would_be_noticed() -> None:
    broken = Page('<div id="a"><p id="a"></div><img src="https://cdn.example/x.png"><a href="#b">x</a>')
    assert broken.misplaced
    assert broken.ids == ["a", "a"]
    assert broken.loads == ["https://cdn.example/x.png"]
    assert broken.links == ["#b"]


def test_the_page_shows_every_topic_event_field_and_listener(page: Page) -> None:
    shown = read_document()
    assert {f"topic-{event.TOPIC}" for event in EVENTS} <= set(page.ids)
    assert {event.NAME for event in EVENTS} <= set(page.ids)
    assert {name for name in shown["channels"] if name not in page.text} == set()
    for topic in topics(shown):
        for event in topic.events:
            for row in event.fields:
                assert row.path in page.text and row.doc in page.text


def test_the_page_shows_every_http_operation(page: Page) -> None:
    requests = [request for service in services_with_api() for request in routes_of(service)]
    assert len(requests) > len(services_with_api())
    assert [request for request in requests if " ".join(request) not in page.text] == []


def test_a_topic_says_who_publishes_and_who_listens() -> None:
    by_name = {topic.name: topic for topic in topics(read_document())}
    fraud, orders = by_name["fraud"], by_name["orders"]
    assert fraud.publishers == ["fraud"]
    assert [(each.service, dict(each.handlers)) for each in fraud.listeners] == [
        ("orders", {"FraudAssessed": "apply_assessments"})
    ]
    placed = next(event for event in orders.events if event.name == "OrderPlaced")
    assert placed.listeners == ["analytics", "fraud", "fulfillment", "inventory", "notifications", "payments"]
    assert (orders.partitions, orders.retention) == (6, "7 days")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("string", "string"),
        (["null", "string"], "string or null"),
        ({"type": "array", "items": LINE}, "array of Line"),
        ({"type": "map", "values": "long"}, "map of long"),
        (SIZE, "Size: S, L"),
        ({"type": "long"}, "long"),
    ],
)
def test_a_type_has_a_name_in_words(kind: Any, name: str) -> None:
    assert type_name(kind) == name


def test_fields_of_records_follow_the_field_that_holds_them() -> None:
    lines = field("lines", {"type": "array", "items": LINE})
    rows = {row.path: row.default for row in fields(thing(lines))}
    assert list(rows)[-4:] == ["occurred_at", "lines", "lines[].units", "lines[].note"]
    assert rows["lines[].note"] == "null"
    assert rows["lines[].units"] == ""
