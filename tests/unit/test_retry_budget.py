"""In place, but not for ever: five tries, a third of the poll interval, and outages are neither."""

import pytest

from chassis.consumer.retry import BACKOFF_SECONDS, MAX_ATTEMPTS, MAX_RETRY_SECONDS, RetryBudget
from chassis.errors import InfrastructureFailure, PermanentFailure, TransientFailure


async def fails(error: Exception) -> None:
    raise error


async def exhausted_by(budget: RetryBudget, error: Exception) -> bool:
    with pytest.raises(type(error)):
        await budget.attempt(fails(error))
    return budget.is_exhausted(error)


async def test_bad_luck_is_tried_five_times() -> None:
    budget = RetryBudget()
    exhausted = [await exhausted_by(budget, TransientFailure()) for _ in range(MAX_ATTEMPTS)]
    assert exhausted == [False] * (MAX_ATTEMPTS - 1) + [True]


async def test_what_can_never_work_is_tried_once() -> None:
    assert await exhausted_by(RetryBudget(), PermanentFailure())


async def test_slow_failures_end_after_a_third_of_the_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, MAX_RETRY_SECONDS - 1, 1000.0, 1002.0])
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    budget = RetryBudget()
    assert [await exhausted_by(budget, TransientFailure()) for _ in range(2)] == [False, True]
    assert budget.attempts == 2


async def test_an_outage_is_no_try_and_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000_000, 1_000))
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    budget = RetryBudget()
    for _ in range(2 * MAX_ATTEMPTS):
        await exhausted_by(budget, InfrastructureFailure())
    assert budget.attempts == 0 and not budget.is_exhausted(TransientFailure())


async def test_the_pause_grows_and_is_spread_over_its_whole_width() -> None:
    budget = RetryBudget()
    budget.attempts = 3
    pauses = [budget.backoff_seconds for _ in range(200)]
    assert min(pauses) < BACKOFF_SECONDS * 2 and BACKOFF_SECONDS * 6 < max(pauses) <= BACKOFF_SECONDS * 8
