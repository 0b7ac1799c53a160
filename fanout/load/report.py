"""What became of a load: outcomes and latencies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, get_args

from fanout.load.asking import State
from fanout.load.mix import Purchase


@dataclass(frozen=True, slots=True)
class Placement:
    """One purchase. `seconds` runs from the moment it was due to the answer; `paid` is None unless by invoice."""

    purchase: Purchase
    state: State
    seconds: float
    order_id: str | None = None
    paid: State | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """`seconds` runs until the last order was answered, whether or not its invoice was paid by then."""

    placements: Sequence[Placement]
    seconds: float

    @property
    def order_ids(self) -> list[str]:
        return [placement.order_id for placement in self.placements if placement.order_id]

    @property
    def outcomes(self) -> Counter[State]:
        return Counter(placement.state for placement in self.placements)

    @property
    def payments(self) -> Counter[State]:
        return Counter(placement.paid for placement in self.placements if placement.paid)

    @property
    def complete(self) -> bool:
        """Every order was placed and every invoice paid."""
        return set(self.outcomes) | set(self.payments) <= {"ok"}

    def latency(self, share: float) -> float:
        """Seconds within which this share of the accepted orders was answered; 0.99 is p99."""
        return percentile(
            [placement.seconds for placement in self.placements if placement.state == "ok"], share
        )

    def lines(self) -> list[str]:
        count = len(self.placements)
        lines = [
            f"{count} orders in {self.seconds:.1f} s ({count / max(self.seconds, 0.001):.1f}/s): "
            + ", ".join(f"{state} {self.outcomes[state]}" for state in get_args(State)),
            f"accepted within {self.latency(0.5) * 1000:.0f} ms (p50), {self.latency(0.99) * 1000:.0f} ms (p99)",
        ]
        if self.payments:
            lines.append(
                f"invoices: {', '.join(f'{state} {n}' for state, n in sorted(self.payments.items()))}"
            )
        return lines + [f"{times} times {problem}" for problem, times in self._problems()]

    def as_json(self) -> dict[str, Any]:
        return {
            "orders": {state: self.outcomes[state] for state in get_args(State)},
            "invoices": {state: self.payments[state] for state in get_args(State)},
            "seconds": round(self.seconds, 3),
            "p50_ms": round(self.latency(0.5) * 1000, 1),
            "p99_ms": round(self.latency(0.99) * 1000, 1),
            "complete": self.complete,
            "problems": dict(self._problems()),
        }

    def _problems(self) -> list[tuple[str, int]]:
        return Counter(placement.problem for placement in self.placements if placement.problem).most_common(3)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; 0 for no values."""
    if not values:
        return 0.0
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)]
