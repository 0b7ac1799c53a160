"""Collects a corpus of evolutions by hypothesis, the same in every run."""

import json
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from tests.support.avro_evolutions import EDITS, Evolution, History, families, histories

SEED = 20_250_101
FAMILY = (0, 17, 31)
PER_FAMILY = 13
HISTORIES = 160

T = TypeVar("T")


@cache
def corpus(first_seed: int = SEED) -> tuple[Evolution, ...]:
    """Returns more than a thousand evolutions, some of each kind of edit, without repetitions."""
    kinds = sorted(EDITS)
    found: list[Evolution] = []
    for number in range(len(kinds)):
        chosen = [kinds[(number + step) % len(kinds)] for step in FAMILY]
        found += chain.from_iterable(collect(families(chosen), PER_FAMILY, first_seed + number))
    return tuple({json.dumps([one.old, one.new]): one for one in found}.values())


@cache
def triples() -> tuple[History, ...]:
    """Returns histories of three versions."""
    return tuple(collect(histories(), HISTORIES, SEED))


def collect(strategy: SearchStrategy[T], count: int, number: int) -> list[T]:
    """Returns what hypothesis generates from that seed."""
    found: list[T] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(example: T) -> None:
        found.append(example)

    keep()
    return found


def counts(judged: Iterable[tuple[Evolution, bool]]) -> str:
    """Returns the table of a run: kinds of edit and how many of each are compatible."""
    compatible, all_of = Counter[str](), Counter[str]()
    for evolution, verdict in judged:
        for kind in evolution.edits:
            all_of[kind] += 1
            compatible[kind] += verdict
    rows = [f"{kind:40} {all_of[kind]:5} {compatible[kind]:5}" for kind in sorted(all_of)]
    return "\n".join([f"seed {SEED}", f"{'edit':40} total compatible", *rows])
