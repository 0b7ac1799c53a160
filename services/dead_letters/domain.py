"""A dead letter is parked, then sent back or discarded for a reason; parked again if it fails again."""

from dataclasses import dataclass, replace
from typing import Literal

Status = Literal["parked", "redriven", "discarded"]
Deed = Literal["redriven", "discarded"]

REDRIVES = 9_999


class Refused(Exception):
    """The letter is in no state for that; the message says why, and what can be done."""


@dataclass(frozen=True)
class Standing:
    """`redrive` counts how often it was sent back; it travels with it, so that its return can be told apart."""

    status: Status
    redrive: int


def redrive(letter: Standing) -> Standing:
    """Also one that was sent back before: the consumer's inbox makes any number of times one effect."""
    if letter.status == "discarded":
        raise Refused("it was discarded, and that is final")
    if letter.redrive >= REDRIVES:
        raise Refused(
            f"it was sent back {letter.redrive} times, which is all that can be counted: discard it"
        )
    return Standing("redriven", letter.redrive + 1)


def discard(letter: Standing) -> Standing:
    """Again is not an error and changes nothing: the first reason stands."""
    if letter.status == "redriven":
        raise Refused(
            "it was sent back, and its consumer may have applied it by now: "
            "only if it fails again and is parked can it be discarded"
        )
    return replace(letter, status="discarded")


def bury(letter: Standing) -> Standing:
    """Its consumer is no more, so it cannot have been applied, and cannot come back."""
    return replace(letter, status="discarded")


def hear(letter: Standing, redrive: int) -> Standing:
    """After a dead letter that was sent back `redrive` times arrived.

    It is news only if it is the last one sent. An older one, or the same once more after somebody has acted,
    changes nothing. One sent later than we know of means that we were restored from a backup: it is believed.
    """
    is_back = letter.status == "redriven" and redrive == letter.redrive
    if is_back or redrive > letter.redrive:
        return Standing("parked", redrive)
    return letter
