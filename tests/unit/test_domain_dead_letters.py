"""States of a dead letter: which actions each allows, and when an arrival changes it."""

import pytest

from services.dead_letters.domain import MOST_REDRIVES, Refused, State, apply_arrival, discard, redrive

PARKED, REDRIVEN, DISCARDED = State("parked", 1), State("redriven", 1), State("discarded", 1)


def test_a_dead_letter_is_redriven_any_number_of_times_and_counted() -> None:
    assert redrive(PARKED) == redrive(REDRIVEN) == State("redriven", 2)


def test_a_discarded_dead_letter_stays_discarded() -> None:
    assert discard(PARKED) == discard(DISCARDED) == DISCARDED
    with pytest.raises(Refused, match="final"):
        redrive(DISCARDED)


def test_a_redriven_dead_letter_is_not_discarded() -> None:
    with pytest.raises(Refused, match="may have applied it"):
        discard(REDRIVEN)


def test_a_dead_letter_is_redriven_only_as_often_as_a_consumer_counts() -> None:
    with pytest.raises(Refused, match="discard it"):
        redrive(State("parked", MOST_REDRIVES))


@pytest.mark.parametrize(
    ("state", "redrives", "becomes"),
    [
        (REDRIVEN, 1, PARKED),
        (REDRIVEN, 0, REDRIVEN),
        (PARKED, 1, PARKED),
        (PARKED, 0, PARKED),
        (DISCARDED, 1, DISCARDED),
        (DISCARDED, 0, DISCARDED),
        (PARKED, 2, State("parked", 2)),
        (REDRIVEN, 2, State("parked", 2)),
    ],
)
def test_only_the_failure_of_the_latest_redrive_parks_a_dead_letter_again(
    state: State, redrives: int, becomes: State
) -> None:
    assert apply_arrival(state, redrives) == becomes
