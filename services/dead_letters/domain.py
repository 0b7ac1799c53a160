"""States of a dead letter: parked, then redriven or discarded for a reason; parked again if it fails again."""

from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["parked", "redriven", "discarded"]
Action = Literal["redriven", "discarded"]

MOST_REDRIVES = 9_999


class Refused(Exception):
    """The dead letter's state does not allow the action; the message says why, and what can be done."""


@dataclass(frozen=True)
class State:
    """`redrive` counts the redrives so far. The redriven record carries the count, so its return can be recognized."""

    status: Status
    redrive: int


def redrive(state: State) -> State:
    """Allowed after an earlier redrive, too: the consumer's inbox applies the event once however often it arrives.

    Raises Refused for a discarded dead letter, and after MOST_REDRIVES.
    """
    if state.status == "discarded":
        raise Refused("it was discarded, and that is final")
    if state.redrive >= MOST_REDRIVES:
        raise Refused(f"it was redriven {state.redrive} times, which is the most that is counted: discard it")
    return State("redriven", state.redrive + 1)


def discard(state: State) -> State:
    """Discarding again changes nothing. Raises Refused while the dead letter is redriven."""
    if state.status == "redriven":
        raise Refused(
            "it was redriven, and its consumer may have applied it by now: "
            "only if it fails again and is parked can it be discarded"
        )
    return replace(state, status="discarded")


def discard_of_removed_consumer(state: State) -> State:
    """Discards also what was redriven: a consumer that no longer exists cannot apply it, nor park it again."""
    return replace(state, status="discarded")


def apply_arrival(state: State, redrive: int) -> State:
    """Returns the state after a dead letter arrived that had been redriven `redrive` times.

    The state changes only if that was the latest redrive. A redelivery, or an older one, changes nothing. A higher
    count than the stored one means that this database was restored from a backup; then the count is taken over.
    """
    failed_again = state.status == "redriven" and redrive == state.redrive
    if failed_again or redrive > state.redrive:
        return State("parked", redrive)
    return state
