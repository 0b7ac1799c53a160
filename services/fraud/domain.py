"""What makes an order suspicious: how fast its customer orders, and how much it is worth."""

from dataclasses import dataclass
from datetime import timedelta

WINDOW = timedelta(minutes=10)
MANY_ORDERS = 5
SUSPICIOUS_SCORE = 60


@dataclass(frozen=True)
class Verdict:
    order_id: str
    score: int
    suspicious: bool
    rules: tuple[str, ...]


def judge(order_id: str, total_cents: int, recent_orders: int) -> Verdict:
    """`recent_orders`: how many the same customer placed within the window before this one."""
    points = {
        "many_orders": 60 if recent_orders >= MANY_ORDERS else 0,
        "large_amount": 40 if total_cents >= 500_00 else 0,
        "very_large_amount": 40 if total_cents >= 2_000_00 else 0,
    }
    score = min(100, sum(points.values()))
    broken = tuple(rule for rule, value in points.items() if value)
    return Verdict(order_id, score, score >= SUSPICIOUS_SCORE, broken)
