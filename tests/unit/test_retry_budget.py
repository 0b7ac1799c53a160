"""A message is retried five times, or for a third of the poll interval; outages count for neither."""

import pytest

from chassis.consumer.retry import BACKOFF_SECONDS, MAX_ATTEMPTS, MAX_RETRY_SECONDS, RetryBudget
from chassis.errors import InfrastructureFailure, PermanentFailure, TransientFailure


async def fails(error: Exception) -> None:
    raise error


async def exhausted_by(budget: RetryBudget, error: Exception) -> bool:
    with pytest.raises(type(error)):
        await budget.attempt(fails(error))
    return budget.is_exhausted(error)


async def test_a_transient_failure_is_retried_until_the_fifth_attempt() -> None:
    budget = RetryBudget()
    exhausted = [await exhausted_by(budget, TransientFailure()) for _ in range(MAX_ATTEMPTS)]
    assert exhausted == [False] * (MAX_ATTEMPTS - 1) + [True]


async def test_a_permanent_failure_is_not_retried() -> None:
    assert await exhausted_by(RetryBudget(), PermanentFailure())


async def test_slow_failures_end_after_a_third_of_the_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, MAX_RETRY_SECONDS - 1, 1000.0, 1002.0])
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    budget = RetryBudget()
    assert [await exhausted_by(budget, TransientFailure()) for _ in range(2)] == [False, True]
    assert budget.attempts == 2


async def test_an_outage_counts_as_no_attempt_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1_000_000, 1_000))
    monkeypatch.setattr("chassis.consumer.retry.running_seconds", lambda: next(now))
    budget = RetryBudget()
    for _ in range(2 * MAX_ATTEMPTS):
        await exhausted_by(budget, InfrastructureFailure())
    assert budget.attempts == 0 and not budget.is_exhausted(TransientFailure())


async def test_the_backoff_grows_and_is_random_over_its_whole_range() -> None:
    budget = RetryBudget()
    budget.attempts = 3
    pauses = [budget.backoff_seconds for _ in range(200)]
    assert min(pauses) < BACKOFF_SECONDS * 2 and BACKOFF_SECONDS * 6 < max(pauses) <= BACKOFF_SECONDS * 8
