"""Compares docs/retention.md with what is declared: every table is there, with the time for which its rows are kept."""

import re

import pytest

from chassis.config import Settings
from chassis.database import metadata
from chassis.retention import PARKED, REPETITIONS
from chassis.service import load
from fanout.repository import REPOSITORY, services

PAGE = (REPOSITORY / "docs/retention.md").read_text()
CHASSIS, SERVICES = PAGE.split("## Every table")[1].split("Of the services:")
FOR_EVER = "for ever"


def rows(section: str) -> dict[str, str]:
    """Returns by table, or `service.table`, how long its rows are kept."""
    found = {}
    for line in re.findall(r"^\| (.*`.*) \|$", section, re.MULTILINE):
        tables, _, kept, *_ = (cell.strip() for cell in line.split(" | "))
        service, _, names = tables.rpartition(": ")
        for name in re.findall(r"`(\w+)`", names):
            found[f"{service}.{name}".removeprefix(".")] = kept
    return found


@pytest.mark.parametrize("service", services())
def test_the_page_has_each_table_of_a_service_and_says_whether_it_is_purged(service: str) -> None:
    said = {
        name.partition(".")[2]: kept
        for name, kept in rows(SERVICES).items()
        if name.startswith(f"{service}.")
    }
    declared = load(service)
    if not said and not declared.retention:
        pytest.skip("a service of somebody's own that keeps everything")
    assert set(said) == set(declared.metadata.tables)
    purged = {table for it in declared.retention for table in it.deletes or {it.table: ""}}
    assert {table for table, kept in said.items() if kept != FOR_EVER} == purged
    days = f"{Settings(database_url='unused').closed_days:.0f} days"
    assert all(days in kept for kept in said.values() if kept != FOR_EVER)


def test_the_page_has_each_table_of_the_chassis_and_says_whether_it_is_purged() -> None:
    said = rows(CHASSIS)
    assert set(said) == set(metadata.tables)
    purged = {it.table for it in (*REPETITIONS, *PARKED)}
    assert {table for table, kept in said.items() if kept != FOR_EVER} == purged
    settings = Settings(database_url="unused")
    assert f"{settings.retention_days:.0f} days" in said["inbox"]
    assert f"{settings.retention_days + settings.closed_days:.0f} days" in said["inbox"]
