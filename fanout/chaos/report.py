"""Writes a run as JSON and as a page in Markdown: what was done, what it met, what bit, and what the judges say."""

import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from fanout.chaos.run import PlayedFault, Run
from fanout.console import counted
from fanout.machine import processors
from fanout.repository import REPOSITORY

BITES = {
    "redeliveries": "events that a consumer received again and ignored",
    "rebalances": "assignments of partitions to a worker",
    "unknown_answers": "requests of which the client does not know whether they had an effect; repeated with their key",
    "resent_by_relays": "records that a relay sent again, because it had no report of them",
    "restarts": "starts of processes",
    "parked": "messages parked",
    "redriven": "dead letters redriven",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What is needed to make the same run again."""

    seed: int
    orders: int
    rate: float
    faults_planned: int
    commit: str
    machine: str
    at: str


def header(seed: int, orders: int, rate: float, fault_count: int) -> Header:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Header(seed, orders, rate, fault_count, commit(), machine(), at)


def commit() -> str:
    """Returns the commit of the repository, and whether files differ from it; "unknown" outside of git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=, changed since", "--exclude=*"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def machine() -> str:
    gigabytes = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{counted(processors(), 'processor')}, {gigabytes:.0f} GiB, {system}"


def as_json(header: Header, run: Run) -> dict[str, Any]:
    return {
        "verdict": run.verdict,
        "violations": run.violations,
        **asdict(header),
        "bites": asdict(run.bites),
        "kills": dict(sorted(_kills(run).items())),
        "load": run.load.as_json(),
        "settled_after_seconds": _rounded(run.settled_after),
        "ledger": {"verdict": run.ledger.verdict, "sentence": run.ledger.conclusion},
        "asked": dict(Counter(asked.verdict for asked in run.asked)),
        "broken": [asdict(each) for each in run.asked if each.verdict == "broken"],
        "independent_judge": run.judgement and asdict(run.judgement),
        "schedule": [_row_json(met) for met in run.met],
        "seconds": _rounded(run.seconds),
    }


def _row_json(met: PlayedFault) -> dict[str, Any]:
    return {
        "at": met.planned.at,
        **asdict(met.planned.fault),
        "began": _rounded(met.began),
        "ended": _rounded(met.ended),
        "met": met.injected.met,
        "failed": met.problem or met.injected.failed,
        "orders_answered": met.answered,
        "slowest_answer_seconds": _rounded(met.slowest),
    }


def write(header: Header, run: Run, path: Path) -> None:
    """Writes `path`.json and `path`.md, and their folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = json.dumps(as_json(header, run), indent=1, default=str)
    path.with_name(f"{path.name}.json").write_text(document + "\n")
    path.with_name(f"{path.name}.md").write_text("\n".join(page(header, run)) + "\n")


def page(header: Header, run: Run) -> Iterator[str]:
    yield f"# Seed {header.seed}: {run.verdict}\n"
    yield (
        f"{header.orders} orders at {header.rate:g} a second, {counted(header.faults_planned, 'fault')}, "
        f"in {run.seconds:.0f} s; commit {header.commit}; {header.machine}; {header.at}.\n"
    )
    for violation in run.violations:
        yield f"* **violated**: {violation}"
    yield from _judges(run)
    yield f"\n## What bit\n\n{_table(['count', 'what'], _bites(run))}\n"
    yield f"## Orders\n\n{'; '.join(run.load.lines())}.\n"
    headings = ["planned", "began", "ended", "fault", "orders answered", "slowest", "met"]
    yield f"## Schedule\n\nTimes are seconds from the first order.\n\n{_table(headings, map(_row, run.met))}"


def _judges(run: Run) -> Iterator[str]:
    after = (
        "not" if run.settled_after is None else f"{run.settled_after:.1f} s after the last answer and fault"
    )
    yield f"* The ledger: {run.ledger.conclusion}; settled {after}."
    words = ", ".join(
        f"{verdict} {count}" for verdict, count in Counter(each.verdict for each in run.asked).items()
    )
    yield f"* Asked every 10 s meanwhile, it said: {words or 'nothing, for the run was too short'}."
    says = run.judgement.verdict if run.judgement else "not asked, for it is not in this repository"
    yield f"* The independent judge: {says}."


def _bites(run: Run) -> Iterator[list[object]]:
    yield from ([value, BITES[name]] for name, value in asdict(run.bites).items())
    kills = _kills(run)
    names = ", ".join(f"{name} {count}" for name, count in sorted(kills.items()))
    yield [kills.total(), f"SIGKILLs of {counted(len(kills), 'process', 'processes')}: {names or 'none'}"]


def _kills(run: Run) -> Counter[str]:
    kills: Counter[str] = Counter()
    for met in run.met:
        if killed := met.injected.met.get("killed", 0):
            kills[met.planned.fault.target] += killed
    return kills


def _row(met: PlayedFault) -> list[object]:
    what = ", ".join(f"{name} {_count(value)}" for name, value in met.injected.met.items())
    if failed := met.problem or met.injected.failed:
        what = f"did not begin: {failed}" if met.began is None else failed
    times = [met.planned.at, *("-" if at is None else f"{at:.1f}" for at in (met.began, met.ended))]
    return [*times, met.planned.fault, met.answered, f"{met.slowest:.2f} s", what or "-"]


def _count(value: object) -> object:
    return len(value) if isinstance(value, list) else value


def _table(headings: list[str], rows: Any) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '/') for cell in line)} |" for line in lines)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)
