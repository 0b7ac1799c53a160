"""`fanout outbox ls` says what is set aside and what is not yet sent, and never that all can be sent."""

import json
from collections.abc import Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from fanout import databases
from fanout.commands import outbox


def listed(monkeypatch: pytest.MonkeyPatch, unsent: Sequence[tuple[int, float | None]], *options: str) -> str:
    """Returns what `ls` prints when no row is set aside and each database has such unsent rows."""
    answers = iter(unsent)

    @asynccontextmanager
    async def snapshot(*_: object) -> Any:
        async def execute(statement: object) -> Any:
            return [] if statement is outbox.LIST else SimpleNamespace(one=lambda: next(answers))

        yield SimpleNamespace(execute=execute)

    monkeypatch.setattr(databases, "snapshot", snapshot)
    urls = {f"service{number}": "" for number in range(len(unsent))}
    monkeypatch.setattr(outbox, "running", lambda: SimpleNamespace(databases=urls))
    done = CliRunner().invoke(outbox.command, ["ls", *options])
    assert done.exit_code == 0, done.exception
    return done.stdout


@pytest.mark.parametrize(
    ("unsent", "sentence"),
    [
        ([(0, None)], "no row is set aside"),
        ([(1, 3.2), (0, None)], "no row is set aside; 1 is not yet sent, for 3 s"),
        ([(2, 3.2), (1200, 9.0)], "no row is set aside; 1,202 are not yet sent, the oldest for 9 s"),
    ],
)
def test_rows_that_are_not_yet_sent_are_counted_with_the_age_of_the_oldest(
    monkeypatch: pytest.MonkeyPatch, unsent: Sequence[tuple[int, float | None]], sentence: str
) -> None:
    assert listed(monkeypatch, unsent) == f"{sentence}\n"


def test_json_has_what_is_not_yet_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(listed(monkeypatch, [(1, 3.2), (0, None)], "--json"))
    assert found == {"rows": [], "unsent": {"rows": 1, "oldest_seconds": 3.2}}
