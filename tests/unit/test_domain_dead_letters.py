"""What may become of a dead letter, and what news of it changes."""

import pytest

from services.dead_letters.domain import REDRIVES, Refused, Standing, discard, hear, redrive

PARKED, SENT, DISCARDED = Standing("parked", 1), Standing("redriven", 1), Standing("discarded", 1)


def test_a_letter_is_sent_back_any_number_of_times_and_counted() -> None:
    assert redrive(PARKED) == redrive(SENT) == Standing("redriven", 2)


def test_what_is_discarded_stays_discarded() -> None:
    assert discard(PARKED) == discard(DISCARDED) == DISCARDED
    with pytest.raises(Refused, match="final"):
        redrive(DISCARDED)


def test_what_was_sent_back_is_not_discarded() -> None:
    with pytest.raises(Refused, match="may have applied it"):
        discard(SENT)


def test_the_count_ends_where_a_consumer_no_longer_believes_it() -> None:
    with pytest.raises(Refused, match="discard it"):
        redrive(Standing("parked", REDRIVES))


@pytest.mark.parametrize(
    ("letter", "redriven", "becomes"),
    [
        (SENT, 1, PARKED),
        (SENT, 0, SENT),
        (PARKED, 1, PARKED),
        (PARKED, 0, PARKED),
        (DISCARDED, 1, DISCARDED),
        (DISCARDED, 0, DISCARDED),
        (PARKED, 2, Standing("parked", 2)),
        (SENT, 2, Standing("parked", 2)),
    ],
)
def test_only_the_last_one_sent_is_news_when_it_comes_back(
    letter: Standing, redriven: int, becomes: Standing
) -> None:
    assert hear(letter, redriven) == becomes
