"""In place, but not for ever: five tries, a third of the poll interval, and outages are neither."""

import pytest

from chassis.consumer.retry import RETRY_SECONDS, TRIES, TRY_FOR_SECONDS, Tries
from chassis.errors import InfrastructureFailure, PermanentFailure, TransientFailure


async def fails(error: Exception) -> None:
    raise error


async def tried(tries: Tries, error: Exception) -> bool:
    with pytest.raises(type(error)):
        await tries.make(fails(error))
    return tries.are_over(error)


async def test_bad_luck_is_tried_five_times() -> None:
    tries = Tries()
    assert [await tried(tries, TransientFailure()) for _ in range(TRIES)] == [False] * (TRIES - 1) + [True]


async def test_what_can_never_work_is_tried_once() -> None:
    assert await tried(Tries(), PermanentFailure())


async def test_slow_failures_end_after_a_third_of_the_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, TRY_FOR_SECONDS - 1, 1000.0, 1002.0])
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    tries = Tries()
    assert [await tried(tries, TransientFailure()) for _ in range(2)] == [False, True]
    assert tries.count == 2


async def test_an_outage_is_no_try_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000_000, 1_000))
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    tries = Tries()
    for _ in range(2 * TRIES):
        await tried(tries, InfrastructureFailure())
    assert tries.count == 0 and not tries.are_over(TransientFailure())


async def test_the_pause_grows_and_is_spread_over_its_whole_width() -> None:
    tries = Tries()
    tries.count = 3
    pauses = [tries.pause_seconds for _ in range(200)]
    assert min(pauses) < RETRY_SECONDS * 2 and RETRY_SECONDS * 6 < max(pauses) <= RETRY_SECONDS * 8
