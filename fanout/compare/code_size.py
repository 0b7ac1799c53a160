"""What each side takes to write and to run; lines are counted from the files."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from fanout.repository import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "synchronous"
SYNCHRONOUS = [EXAMPLE / name for name in ("payments.py", "listeners.py", "notifier.py", "schema.sql")]
SERVICES = ("payments", "notifications")
CHASSIS = REPOSITORY / "chassis"
COMMENTS = ("#", "--")


@dataclass(frozen=True, slots=True)
class Size:
    """One thing that has to be written or run, on either side."""

    what: str
    synchronous: str
    events: str

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def sizes() -> list[Size]:
    own = [file for name in SERVICES for file in (REPOSITORY / "services" / name).rglob("*.py")]
    return [
        Size("lines of the services", f"{lines(SYNCHRONOUS):,}", f"{lines(own):,}"),
        Size("lines of the chassis", "none", f"{lines(CHASSIS.rglob('*.py')):,}"),
        Size("processes", "payments, notifier", "payments (2), notifications"),
        Size("servers", "Postgres", "Postgres, Kafka, registry"),
    ]


def lines(files: Iterable[Path]) -> int:
    """Counts the lines that are neither empty nor a comment; a docstring counts."""
    return sum(
        bool(line.strip()) and not line.lstrip().startswith(COMMENTS)
        for file in files
        for line in file.read_text(encoding="utf-8").splitlines()
    )
