"""Computes the figures of `fanout compare` from its samples: how long answers to payments and their effects took."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fanout.load import percentile

Side = Literal["synchronous", "events"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True, slots=True)
class Sample:
    """One payment. `asked_at` is a Unix time, `seconds` runs to the answer, whatever it was."""

    order_id: str
    asked_at: float
    seconds: float
    is_accepted: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Figures:
    """Times are in seconds. Those of the effect are None if it never came; `effects` counts how often it did."""

    payments: int
    answer_p50: float
    answer_p99: float
    accepted: int
    effect_p50: float | None
    effect_p99: float | None
    effects: int


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one side under one condition, such as "750 ms" or "3 listeners"."""

    condition: str
    side: Side
    figures: Figures


def figures(samples: Sequence[Sample], effects: Mapping[str, float]) -> Figures:
    """Returns the figures of these payments; `effects` are Unix times by order. Without effects there are no times."""
    answers = [sample.seconds for sample in samples]
    waited = [effects[each.order_id] - each.asked_at for each in samples if each.order_id in effects]
    return Figures(
        payments=len(samples),
        answer_p50=percentile(answers, 0.5),
        answer_p99=percentile(answers, 0.99),
        accepted=sum(sample.is_accepted for sample in samples),
        effect_p50=percentile(waited, 0.5) if waited else None,
        effect_p99=percentile(waited, 0.99) if waited else None,
        effects=len(waited),
    )


def ratio(rows: Sequence[Row], side: Side, condition: str, base: str) -> float:
    """Returns how many times longer the median answer takes under one condition than under another."""
    medians = {row.condition: row.figures.answer_p50 for row in rows if row.side == side}
    return medians[condition] / medians[base]
