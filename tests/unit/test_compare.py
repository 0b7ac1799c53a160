"""`fanout compare` counts, reads mails, draws and refuses, without a running stack."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import typer
from rich.console import Console

from fanout.commands import compare as command
from fanout.compare import code_size, experiments
from fanout.compare.child import child
from fanout.compare.conditions import levels, listeners
from fanout.compare.experiments import interval
from fanout.compare.listeners import taken_by_all
from fanout.compare.mails import Mails, arrived_at
from fanout.compare.prepare import Invoice
from fanout.compare.report import LISTENERS, MAIL_SERVER, Headings, as_json, report, span, svg
from fanout.compare.samples import SIDES, Row, Sample, Side, figures, ratio
from fanout.compare.setting import _alone
from fanout.errors import FanoutError, ProcessFailed
from fanout.local.mail_fault import MailState
from fanout.local.stack_directory import StackDirectory
from tests.support.stack import REPOSITORY

SECONDS = 10


def samples(*seconds: float, is_accepted: bool = True) -> list[Sample]:
    return [Sample(f"o{number}", 100.0, each, is_accepted) for number, each in enumerate(seconds)]


def row(condition: str, side: Side, *seconds: float, effects: dict[str, float] | None = None) -> Row:
    return Row(condition, side, figures(samples(*seconds), effects or {}))


def rows_of(*conditions: str) -> list[Row]:
    return [
        row(condition, side, 1.234, 11.5, effects={"o0": 123.4}) for condition in conditions for side in SIDES
    ]


def printed(rows: list[Row], headings: Headings) -> list[str]:
    console = Console(file=StringIO(), width=80)
    console.print(report(rows, headings, []))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_sentences_are_broken_on_a_terminal_and_in_a_picture_but_not_in_a_pipe(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows, picture = rows_of("5ms"), tmp_path / "compare.svg"
    result = command._of_one_consumer(rows)
    command._show(result, picture, json_output=False)
    assert result.sentences[0] in capsys.readouterr().out.splitlines()
    assert result.sentences[0].replace(" ", "&#160;") not in picture.read_text()


class Places:
    """In place of a stack: takes the orders that are placed, and measures nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.placed: list[tuple[int, str]] = []
        self.runs: list[tuple[str, int]] = []
        self.addresses, self.directory = None, SimpleNamespace(mail=tmp_path)
        monkeypatch.setattr(experiments, "place_invoices", self._place)
        monkeypatch.setattr(experiments, "_measure", self._measure)

    @contextmanager
    def synchronous_service(self, listeners: list[str]) -> Iterator[str]:
        yield ""

    async def _place(self, addresses: object, count: int, uses: str, *_: object) -> list[Invoice]:
        self.placed.append((count, uses))
        return [Invoice(str(number), {}) for number in range(count)]

    async def _measure(self, used: object, run: experiments.Run, *_: object) -> dict[Side, list[Sample]]:
        self.runs.append((run.about, len(run.invoices) - 1))
        return {side: samples(1.0) for side in SIDES}


async def test_it_says_which_round_it_is_and_why_more_orders_are_placed_than_paid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    places = Places(monkeypatch, tmp_path)
    await experiments.over_levels(places, levels("5ms,stopped"), 5, print)  # type: ignore[arg-type]
    assert places.placed == [(14, "10 to pay and time, 4 to open connections with")]
    assert places.runs == [
        ("round 1 of 2, mail server 5 ms", 3),
        ("round 1 of 2, mail server stopped", 3),
        ("round 2 of 2, mail server 5 ms", 2),
        ("round 2 of 2, mail server stopped", 2),
    ]


def test_an_interrupt_is_answered_with_what_is_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def setting(fails_softly: bool) -> Iterator[None]:
        try:
            yield
        finally:
            print("taken away", file=sys.stderr)

    async def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "setting", setting)
    monkeypatch.setattr(command, "over_levels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.command()
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "taken away",
        "stopped: the mail server is as it was before, and nothing of the comparison still runs",
    ]


def test_figures_are_medians_and_the_slowest_of_a_hundred() -> None:
    found = figures(samples(*(number / 1000 for number in range(1, 101))), {})
    assert (found.answer_p50, found.answer_p99) == (0.05, 0.099)


def test_an_effect_is_timed_from_the_request_and_one_that_never_came_is_no_time() -> None:
    found = figures(samples(0.1, 0.1, 0.1), {"o0": 100.5, "o2": 103.0, "other": 1.0})
    assert (found.effect_p50, found.effect_p99, found.effects, found.payments) == (0.5, 3.0, 2, 3)
    never = figures(samples(0.1, is_accepted=False), {})
    assert (never.effect_p50, never.effect_p99, never.effects, never.accepted) == (None, None, 0, 0)


def test_a_ratio_is_of_the_medians_of_one_side() -> None:
    rows = [row("5 ms", "synchronous", 0.02, 0.02, 9.0), row("5 ms", "events", 1.0)]
    rows += [row("750 ms", "synchronous", 0.8), row("750 ms", "events", 0.5)]
    assert ratio(rows, "synchronous", "750 ms", "5 ms") == pytest.approx(40)
    assert ratio(rows, "events", "750 ms", "5 ms") == 0.5


def test_levels_are_read_as_they_are_written() -> None:
    assert [(level.name, level.state) for level in levels("5ms, 1.5s,STOPPED")] == [
        ("5 ms", MailState(0.005)),
        ("1500 ms", MailState(1.5)),
        ("stopped", MailState(None)),
    ]


@pytest.mark.parametrize("text", ["", ",", "5ms,", "5ms,5ms", "fast", "11s", "-1", "1,2,3,4,5,6,7,8,9"])
def test_levels_that_nobody_means_are_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        levels(text)


def test_a_range_of_listeners_includes_both_ends() -> None:
    assert (listeners("1..3"), listeners("4")) == ([1, 2, 3], [4])


@pytest.mark.parametrize("text", ["", "0", "3..1", "1..21", "1...3", "1-3", "٣", "9" * 30])
def test_a_range_that_nobody_means_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        listeners(text)


@pytest.mark.parametrize(
    ("state", "count", "least"),
    [(MailState(0.75), 1, 1.5), (MailState(0.1), 6, 0.6), (MailState(None), 1, 0.2)],
)
def test_payments_are_as_far_apart_as_their_mails_and_listeners_take(
    state: MailState, count: int, least: float
) -> None:
    assert least < interval(state, count) < least + 1


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path


def arrive(
    maildir: Path, second: int, domain: str, order: str, subject: str = "Your payment went through"
) -> Path:
    file = maildir / "new" / f"{second}.M250000P1Q{second}.x"
    file.write_text(f"Subject: {subject}\nMessage-ID: <1@{domain}>\nX-Order-ID: {order}\n\nbody\n")
    return file


def test_mails_are_told_apart_by_side_and_the_first_of_an_order_counts(maildir: Path) -> None:
    arrive(maildir, 1, "notifications.fanout.example", "before")
    mails = Mails(maildir)
    ours = arrive(maildir, 2, "notifications.fanout.example", "o1")
    placed = arrive(maildir, 3, "notifications.fanout.example", "o2", "We have your order")
    theirs = arrive(maildir, 4, "notifier.synchronous.example", "o1")
    mails.look()
    arrive(maildir, 5, "notifications.fanout.example", "o1").rename(maildir / "new" / "9.M0P1Q1.x")
    strange = arrive(maildir, 6, "somebody.example", "o3")
    mails.look()
    assert mails.paid == {"events": {"o1": 2.25}, "synchronous": {"o1": 4.25}}
    assert mails.orders == {"o1", "o2"}
    mails.remove_of_synchronous()
    assert not theirs.exists() and ours.exists() and placed.exists() and strange.exists()


def test_a_file_without_a_time_in_its_name_arrived_at_no_time() -> None:
    assert arrived_at("strange") == float("inf")


def test_a_payment_is_done_when_the_last_listener_has_printed_it(tmp_path: Path) -> None:
    file = tmp_path / "printed"
    file.write_text("ready\nready\no1 5.0\no2 6.0\no1 7.5\nready")
    assert taken_by_all(file, 2) == {"o1": 7.5}


@pytest.mark.parametrize(
    ("rows", "headings"),
    [(rows_of("5 ms", "10000 ms", "stopped"), MAIL_SERVER), (rows_of("1", "20"), LISTENERS)],
)
def test_nothing_is_cut_at_80_columns(rows: list[Row], headings: Headings) -> None:
    lines = printed(rows, headings)
    assert not [line for line in lines if "…" in line]
    assert sum("synchronous" in line for line in lines) == 3 * len(rows) / 2


def test_bars_are_as_long_as_their_times(tmp_path: Path) -> None:
    lines = printed([row("a", "synchronous", 0.8), row("a", "events", 0.2)], MAIL_SERVER)
    first, second = [line.count("█") for line in lines if "█" in line]
    assert first == 4 * second


def test_what_never_happened_has_no_bar_and_is_called_never() -> None:
    lines = printed([row("stopped", "synchronous", 0.2)], MAIL_SERVER)
    assert lines[-1].split() == ["stopped", "synchronous", "never"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (61.0, "61.0 s"), (None, "never")],
)
def test_a_time_has_the_unit_that_people_would_use(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_a_picture_needs_nothing_from_the_web() -> None:
    picture = svg(report(rows_of("5 ms"), MAIL_SERVER, ["a sentence"]), "fanout compare")
    assert picture.startswith("<svg") and "fanout" in picture and "sentence" in picture
    assert "@font-face" not in picture and "url(http" not in picture


def test_json_has_the_figures_of_each_side_under_each_condition() -> None:
    found = as_json(rows_of("5 ms", "stopped"), {"ratios": {}})
    assert list(found["conditions"]) == ["5 ms", "stopped"] and found["ratios"] == {}
    assert found["conditions"]["stopped"]["events"]["effect_p50"] == pytest.approx(23.4)


def test_lines_of_code_are_neither_empty_nor_comments(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text('"""Says."""\n\n# comment\n  # another\nx = 1  # counts\n-- sql\n')
    assert code_size.lines([file]) == 2
    assert all(int(size.synchronous.replace(",", "")) > 100 for size in code_size.sizes()[:1])


def test_two_comparisons_of_one_stack_do_not_run_at_once(tmp_path: Path) -> None:
    directory = StackDirectory(tmp_path)
    with _alone(directory), pytest.raises(FanoutError, match="another fanout compare"), _alone(directory):
        pass
    with _alone(directory):
        pass


WAITS = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"
PARENT = f"""
import sys, time
from pathlib import Path
from fanout.compare.child import child
log = Path(sys.argv[1])
with child("test", [sys.executable, "-c", {WAITS!r}], {{}}, log, lambda: log.read_text().endswith("\\n")):
    print("up", flush=True)
    time.sleep(600)
"""


def pid_in(log: Path) -> psutil.Process:
    return psutil.Process(int(log.read_text()))


def is_complete(log: Path) -> bool:
    return log.read_text().endswith("\n")


def test_a_child_ends_with_its_block(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with child("test", [sys.executable, "-c", WAITS], {}, log, lambda: is_complete(log)):
        process = pid_in(log)
        assert process.is_running()
    psutil.wait_procs([process], timeout=SECONDS)
    assert not process.is_running()


def test_a_child_that_ignores_its_end_is_killed_and_no_other_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.compare.child.STOP_SECONDS", 0.2)
    log, bystander = (
        tmp_path / "log",
        subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.DEVNULL),
    )
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
    with child("test", [sys.executable, "-c", stubborn], {}, log, lambda: is_complete(log)):
        process = pid_in(log)
    psutil.wait_procs([process], timeout=SECONDS)
    assert not process.is_running()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_child_ends_with_its_parent_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    log = tmp_path / "log"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert parent.stdout and parent.stdout.readline() == b"up\n"
    process = pid_in(log)
    parent.send_signal(number)
    parent.wait(SECONDS)
    _, alive = psutil.wait_procs([process], timeout=SECONDS)
    assert not alive


def test_a_child_that_ends_at_once_is_an_error_with_what_it_printed(tmp_path: Path) -> None:
    began = time.monotonic()
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with (
        pytest.raises(ProcessFailed, match="no such port"),
        child("test", command, {}, tmp_path / "log", bool),
    ):
        pass
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--delays", "5ms", "--one-consumer"], "exclude each other"),
        (["--consumers", "1..2", "--one-consumer"], "exclude each other"),
        (["--consumers", "0..2"], "no range"),
        (["--delays", "soon"], "no span of time"),
        (["--takes", "2s", "--consumers", "2"], "at most 1 s"),
        (["--svg", "/no/such/folder/x.svg"], "cannot be written"),
        (["--pairs", "1"], "--pairs"),
    ],
)
def test_options_that_nobody_means_are_refused_before_anything_starts(
    tmp_path: Path, arguments: list[str], reason: str
) -> None:
    done = compare(tmp_path, *arguments)
    assert done.returncode == 2 and reason in re.sub(r"\s+", " ", done.stderr)
    assert not list(tmp_path.iterdir())


def test_without_a_running_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    done = compare(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: not running: fanout up\n"
    assert not list(tmp_path.iterdir())


def compare(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fanout", "compare", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"FANOUT_HOME": str(home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
    )
