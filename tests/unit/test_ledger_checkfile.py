"""checks.sql files: what is accepted, what is refused, and that the ledger's rules find the facts they name."""

import pytest

from fanout.errors import FanoutError
from fanout.verify.invariants import RULES, SERVICES, Query, discover, parse


def test_each_title_begins_a_block() -> None:
    text = "-- check: a is b\nSELECT 1;\n\n-- fact: done\nSELECT order_id\nFROM t\n"
    assert parse("s", text) == [
        Query("s", "check", "a is b", "SELECT 1"),
        Query("s", "fact", "done", "SELECT order_id\nFROM t"),
    ]


def test_comments_and_blank_lines_are_no_sql() -> None:
    text = "-- What must be true here.\n\n-- check: x\n-- because of y\n\nSELECT 1;\n-- and so on\n"
    assert [query.sql for query in parse("s", text)] == ["SELECT 1"]


def test_a_title_without_sql_is_refused() -> None:
    with pytest.raises(FanoutError, match="'empty' has no SQL"):
        parse("s", "-- check: empty\n-- fact: done\nSELECT 1")


def test_sql_before_the_first_title_is_refused() -> None:
    with pytest.raises(FanoutError, match="before the first"):
        parse("s", "SELECT 1;\n-- check: x\nSELECT 2")


def test_a_fact_stated_twice_is_refused() -> None:
    with pytest.raises(FanoutError, match="two facts called"):
        parse("s", "-- fact: a\nSELECT 1;\n-- fact: a\nSELECT 2;")


def test_every_service_has_checks() -> None:
    folders = {folder.parent.name for folder in SERVICES.glob("*/service.py")}
    assert folders <= {query.service for query in discover()}


def test_every_fact_that_a_rule_names_is_stated_by_a_service() -> None:
    published = {query.name for query in discover() if query.kind == "fact"}
    named = {fact for rule in RULES for fact in (*rule.every, *rule.has, *rule.lacks)}
    assert named <= published
