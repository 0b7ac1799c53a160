"""`fanout sql`: how rows are printed, and what is refused before a database is asked."""

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fanout.cli import _app
from fanout.commands import sql
from fanout.errors import UnknownService
from fanout.masked_views import Column, _expression
from fanout.running import Addresses
from fanout.sql import TABLES, Result

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def shown(found: Result, capsys: pytest.CaptureFixture[str], width: int = 80) -> list[str]:
    page = StringIO()
    sql.show(found, Console(file=page, width=width, highlight=False))
    return [*map(str.rstrip, page.getvalue().splitlines()), *capsys.readouterr().out.splitlines()]


def test_rows_that_fit_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(Result(["name", "n"], [("mug", 7), (None, 12)]), capsys)
    assert " mug     7" in lines and " -      12" in lines and lines[-1] == "2 rows"


def test_rows_that_do_not_fit_are_lists_of_their_columns(capsys: pytest.CaptureFixture[str]) -> None:
    wide = Result(["id", "headers"], [(1, "x" * 100), (2, "[red]\x1b[2J")], more=True)
    lines = shown(wide, capsys)
    assert max(map(len, lines)) <= 80
    assert lines[0] == "row 1" and "  id       1" in lines
    assert "  headers  [red]\N{REPLACEMENT CHARACTER}[2J" in lines
    assert lines[-1] == "2 rows, there are more: --limit"


def test_the_list_of_tables_stays_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(Result(TABLES, [("outbox", 52, "a, " * 60)]), capsys)
    assert max(map(len, lines)) <= 80 and lines[1].split() == list(TABLES)


def test_every_value_has_a_text() -> None:
    values: list[Any] = [None, True, b"\x00\xff", [1, "a"], {"a": None}, AT]
    assert list(map(sql._cell, values)) == [
        "-",
        "True",
        "00ff",
        '[1, "a"]',
        '{"a": null}',
        "2026-03-01 12:00:00+00:00",
    ]


def test_json_has_rows_by_column_and_says_if_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def query(*_: object) -> Result:
        return Result(["at", "value"], [(AT, b"\xff")], more=True)

    monkeypatch.setattr(sql, "query", query)
    with_database(monkeypatch)
    done = CliRunner().invoke(_app(["sql"]), ["sql", "orders", "select 1", "--json"])
    assert json.loads(done.stdout) == {
        "rows": [{"at": "2026-03-01T12:00:00+00:00", "value": "ff"}],
        "more": True,
    }


def test_an_unknown_service_is_answered_with_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    with_database(monkeypatch)
    done = CliRunner().invoke(_app(["sql"]), ["sql", "order"])
    assert isinstance(done.exception, UnknownService) and "there are orders" in str(done.exception)


def with_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sql, "running", lambda: Addresses("", "", {"orders": "postgresql://h/orders"}, {}, {})
    )


@pytest.mark.parametrize(
    ("column", "expression"),
    [
        (Column("card_token", "text", True), "CASE WHEN \"card_token\" IS NOT NULL THEN '***' END"),
        (Column("order_id", "text", True), '"order_id"'),
        (Column("total_cents", "bigint", False), '"total_cents"'),
        (Column("key", "bytea", False), "encode(\"key\", 'escape')"),
        (Column("value", "bytea", False), "octet_length(\"value\") || ' bytes'"),
    ],
)
def test_a_column_is_masked_by_its_name_and_type(column: Column, expression: str) -> None:
    assert _expression(column) == expression
