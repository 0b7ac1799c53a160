"""Scores an order by how often its customer ordered lately, and by its amount."""

from dataclasses import dataclass
from datetime import timedelta

WINDOW = timedelta(minutes=10)
MANY_ORDERS = 5
SUSPICIOUS_SCORE = 60
POINTS = {"many_orders": 60, "large_amount": 40, "very_large_amount": 40}


@dataclass(frozen=True)
class Verdict:
    order_id: str
    score: int
    suspicious: bool
    rules: tuple[str, ...]


def judge(order_id: str, total_cents: int, recent_orders: int) -> Verdict:
    """Returns the verdict; `recent_orders` is the number of orders of this customer in the WINDOW before this one."""
    broken = {
        "many_orders": recent_orders >= MANY_ORDERS,
        "large_amount": total_cents >= 500_00,
        "very_large_amount": total_cents >= 2_000_00,
    }
    return _verdict(order_id, {rule for rule, is_broken in broken.items() if is_broken})


def revise(verdict: Verdict, recent_orders: int) -> Verdict:
    """Returns the verdict that `judge` would give with this number of recent orders."""
    if recent_orders < MANY_ORDERS:
        return verdict
    return _verdict(verdict.order_id, {*verdict.rules, "many_orders"})


def _verdict(order_id: str, broken: set[str]) -> Verdict:
    rules = tuple(rule for rule in POINTS if rule in broken)
    score = min(100, sum(POINTS[rule] for rule in rules))
    return Verdict(order_id, score, score >= SUSPICIOUS_SCORE, rules)
