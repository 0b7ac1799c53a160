"""Reads a service's checks.sql: `-- check:` selects what is wrong, `-- fact:` what is so, `-- waiting:` what waits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from fanout.errors import FanoutError

Kind = Literal["check", "fact", "waiting"]

SERVICES = Path(__file__).parents[2] / "services"
_TITLE = re.compile(r"^--\s*(check|fact|waiting):\s*(.*\S)\s*$")


@dataclass(frozen=True, slots=True)
class Query:
    """One block. A check returns the offending ids, a fact one order id for each occurrence, and `waiting` the name
    of a consumer for each thing of it that waits for a person.
    """

    service: str
    kind: Kind
    title: str
    sql: str

    @property
    def name(self) -> str:
        return f"{self.service}.{self.title}"


def discover(services: Path = SERVICES) -> list[Query]:
    """The blocks of every service's checks.sql, services in alphabetical order."""
    files = sorted(services.glob("*/checks.sql"))
    return [query for file in files for query in parse(file.parent.name, file.read_text())]


def parse(service: str, text: str) -> list[Query]:
    queries = list(_blocks(service, text))
    for query in queries:
        if not query.sql:
            raise FanoutError(f"services/{service}/checks.sql: nothing is selected for '{query.title}'")
    names = [query.title for query in queries if query.kind == "fact"]
    if len(names) != len(set(names)):
        raise FanoutError(f"services/{service}/checks.sql: a fact is stated twice")
    return queries


def _blocks(service: str, text: str) -> Iterator[Query]:
    title: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*text.splitlines(), "-- check: end"]:
        found = _TITLE.match(line)
        if found is None:
            lines.append(line)
            continue
        if title is not None:
            yield Query(service, cast(Kind, title[1]), title[2], _statement(lines))
        elif _statement(lines):
            raise FanoutError(
                f"services/{service}/checks.sql: SQL before the first '-- check:', '-- fact:' or '-- waiting:'"
            )
        title, lines = found, []


def _statement(lines: list[str]) -> str:
    """The SQL without comment lines, blank lines and the closing semicolon."""
    sql = [line for line in lines if line.strip() and not line.lstrip().startswith("--")]
    return "\n".join(sql).strip().removesuffix(";").rstrip()
