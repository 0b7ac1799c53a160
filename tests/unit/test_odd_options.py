"""Times, spans and numbers that nobody means, but that somebody types: each is refused in a sentence, with exit 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fanout.cli import COMMANDS, _app
from fanout.durations import seconds, timestamp
from tests.support.stack import REPOSITORY

SPANS = [
    "",
    "-5s",
    "1e9",
    "5 minutes",
    "٣s",
    "9" * 400 + "h",
    "99999999h",
    "nan",
    "inf",
    "1.5.2s",
    "0x10",
    "s",
]
TIMES = [
    *SPANS[2:],
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1970-12-31T23:59:59Z",
    "2026-02-30Z",
]


@pytest.mark.parametrize("text", SPANS)
def test_a_span_that_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        seconds(text)
    assert len(str(refused.value)) < 160


@pytest.mark.parametrize("text", TIMES)
def test_a_time_that_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        timestamp(text)
    assert len(str(refused.value)) < 160


def test_a_year_is_the_longest_span() -> None:
    assert seconds("8784h") == 366 * 24 * 3600
    assert timestamp("8784h").year > 1971


HUGE = "9" * 30
LINES = [
    "dlq ls --since 99999999h",
    "dlq redrive --until 99999999h --why x",
    "dlq show " + HUGE,
    "replay analytics --from 99999999h",
    "verify --wait 99999999h",
    "mailbox --delay 99999999h",
    "compare --takes 99999999h",
    "compare --pairs " + HUGE,
    "mailbox --limit " + HUGE,
    "load --seconds 99999999h",
    "load --seconds 8000h --rate 2000",
    "load --orders " + HUGE,
    "load --rate nan",
    "demo --rate nan",
    "demo --orders " + HUGE,
    "logs -n " + HUGE,
    "outbox show orders " + HUGE,
    "outbox retry orders " + HUGE,
    "scale fraud " + HUGE,
    "up --owner-pid " + HUGE,
    "tail --since 99999999h",
    "lag --every 99999999h --watch",
    "lag --within 99999999h --slo",
    "tail --count " + HUGE,
    "sql orders --timeout 99999999h",
    "sql orders --limit " + HUGE,
    "token ada --for 99999999h",
    "chaos kill fraud --for 99999999h",
    "chaos run --orders " + HUGE,
    "resend --topic orders --since 99999999h",
]
ASKED_OF_THE_STACK = ("dlq show " + HUGE, "scale fraud " + HUGE)
"""The API, or the number of free ports, decides; here the answer is that nothing runs."""


@pytest.mark.parametrize("line", LINES)
def test_no_option_of_the_tool_ends_in_an_unexpected_error(line: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fanout", *line.split()],
        cwd=REPOSITORY,
        env=os.environ | {"FANOUT_HOME": str(tmp_path / "home"), "FANOUT_PORT_BASE": "9760"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "unexpected" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.returncode == (1 if line in ASKED_OF_THE_STACK else 2), done
    assert not (tmp_path / "home" / "logs").exists()


def test_every_option_that_is_a_time_or_a_span_has_a_line_above() -> None:
    app = typer.main.get_command(_app(list(COMMANDS)))
    found = {
        f"{' '.join(names)} {option}"
        for names, command in leaves(app, [])
        for parameter in command.params
        if getattr(parameter, "metavar", None) in ("TIME", "SPAN")
        for option in parameter.opts
    }
    tried = {" ".join(line.split()[:-1]) for line in LINES}
    wanted = {option for option in found if not option.startswith("dlq")}
    assert {"verify --wait", "mailbox --delay", "replay --from"} <= wanted
    missing = {
        each
        for each in wanted
        if not any(line.startswith(each.split()[0]) and each.split()[-1] in line for line in tried)
    }
    assert missing == set()


def leaves(command: object, names: list[str]) -> list[tuple[list[str], typer.core.TyperCommand]]:
    children = getattr(command, "commands", {})
    if not children:
        return [(names, command)]  # type: ignore[list-item]
    return [leaf for name, child in children.items() for leaf in leaves(child, [*names, name])]
