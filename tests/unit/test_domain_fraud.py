"""Fraud's rules: which orders are suspicious."""

import pytest

from services.fraud.domain import MANY_ORDERS, judge, revise


@pytest.mark.parametrize(
    ("cents", "recent", "score", "suspicious", "rules"),
    [
        (14_90, 0, 0, False, ()),
        (499_99, MANY_ORDERS - 1, 0, False, ()),
        (500_00, 0, 40, False, ("large_amount",)),
        (1_999_99, 0, 40, False, ("large_amount",)),
        (2_000_00, 0, 80, True, ("large_amount", "very_large_amount")),
        (14_90, MANY_ORDERS, 60, True, ("many_orders",)),
        (500_00, MANY_ORDERS, 100, True, ("many_orders", "large_amount")),
        (2_000_00, MANY_ORDERS, 100, True, ("many_orders", "large_amount", "very_large_amount")),
    ],
)
def test_recent_orders_and_amount_add_up_to_a_score(
    cents: int, recent: int, score: int, suspicious: bool, rules: tuple[str, ...]
) -> None:
    verdict = judge("o-1", cents, recent)
    assert (verdict.score, verdict.suspicious, verdict.rules) == (score, suspicious, rules)


@pytest.mark.parametrize("cents", [14_90, 500_00, 2_000_00])
@pytest.mark.parametrize("before", range(MANY_ORDERS + 1))
@pytest.mark.parametrize("now", range(MANY_ORDERS + 1))
def test_a_revised_verdict_equals_one_that_was_given_with_all_orders_known(
    cents: int, before: int, now: int
) -> None:
    """Known orders only ever become more."""
    if before <= now:
        assert revise(judge("o-1", cents, before), now) == judge("o-1", cents, now)
