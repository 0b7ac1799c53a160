"""What a check found: in what state a thing is, what that means, and the command that mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "watch", "wrong", "unasked"]
EXIT_CODES: dict[State, int] = {"ok": 0, "unasked": 0, "watch": 3, "wrong": 1}


@dataclass(frozen=True, slots=True)
class Finding:
    """`unasked`: what would have to be asked does not answer, or is not here; `what` says why."""

    state: State
    check: str
    what: str
    meaning: str = ""
    remedy: str = ""


def worst(findings: Iterable[Finding]) -> State:
    """Returns the state of the whole: what is wrong counts more than what is to be watched."""
    states = {finding.state for finding in findings}
    order: tuple[State, ...] = ("wrong", "watch")
    return next((state for state in order if state in states), "ok")
