"""What a replay did, in sentences and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

SHOWN = 10


@dataclass(frozen=True)
class Summary:
    """`events` lie in the topics; of these the service is addressed by those it has `seen`, and of later ones."""

    service: str
    rebuilt: bool
    since: datetime | None
    events: int
    seconds: float
    per_second: float
    seen: int
    ignored: int
    applied: int
    parked: int
    not_ignored: list[str]
    without_receipt: int

    @property
    def is_harmless(self) -> bool:
        return not self.not_ignored and not self.without_receipt


def lines(summary: Summary) -> Iterator[str]:
    yield (
        f"{summary.events:,} events read in {summary.seconds:.1f} s, "
        f"{summary.per_second:,.0f} a second once the workers were up"
    )
    yield _rebuilt(summary) if summary.rebuilt else _ignored(summary)
    if summary.not_ignored:
        some = ", ".join(summary.not_ignored[:SHOWN]) + (", …" if len(summary.not_ignored) > SHOWN else "")
        yield (
            f"{summary.service} did not ignore {len(summary.not_ignored)} that it had behind it, so its inbox had "
            f"lost them: {some}; see fanout verify"
        )
    if summary.without_receipt:
        yield (
            f"{summary.service} applied {summary.without_receipt} more than it took receipts for: "
            "some effects happened twice; see fanout verify"
        )


def as_json(summary: Summary) -> dict[str, Any]:
    return asdict(summary) | {
        "since": summary.since and summary.since.isoformat(),
        "is_harmless": summary.is_harmless,
    }


def _rebuilt(summary: Summary) -> str:
    since = f" of what happened since {summary.since:%Y-%m-%d %H:%M:%S} UTC" if summary.since else ""
    parked = f", {summary.parked:,} parked" if summary.parked else ""
    return f"{summary.service} is rebuilt{since}: {summary.applied:,} events applied{parked}"


def _ignored(summary: Summary) -> str:
    new = summary.applied + summary.parked
    while_at_it = f"; {new:,} were new" if new else ""
    verdict = "nothing changed" if summary.is_harmless else "something changed"
    return f"{summary.service} saw {summary.seen:,} events and ignored {summary.ignored:,}: {verdict}{while_at_it}"
