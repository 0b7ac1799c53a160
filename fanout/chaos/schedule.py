"""Draws a schedule of faults from a seed: the same seed and system give the same faults, targets and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from fanout.chaos.kinds import KINDS, TABLES, Fault, Kind, TargetKind

KILLS = 5
"""How many of each round of faults are kills; every other kind is in it once."""
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 8.0


@dataclass(frozen=True, slots=True)
class Planned:
    """`at` is in seconds from the first order."""

    at: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class Targets:
    """What a system has that a fault can be aimed at."""

    processes: Sequence[str]
    services: Sequence[str]
    topics: Sequence[str]

    def of(self, takes: TargetKind) -> Sequence[str]:
        match takes:
            case "process":
                return self.processes
            case "service":
                return self.services
            case "table":
                return [f"{service}.{table}" for service in self.services for table in TABLES]
            case "topic":
                return self.topics
        return [""]


def schedule(seed: int, count: int, seconds: float, targets: Targets) -> list[Planned]:
    """Returns one fault in each of `count` equal parts of the time, at any second of it; some will overlap.

    From `len(KINDS) + KILLS - 1` faults on every kind is among them.
    """
    random = Random(seed)
    kinds: list[Kind] = []
    while len(kinds) < count:
        kinds += random.sample(_round(), len(_round()))
    return [
        Planned(round((number + random.random()) * seconds / count, 2), _fault(random, kind, targets))
        for number, kind in enumerate(kinds[:count])
    ]


def _round() -> list[Kind]:
    return [*KINDS.values(), *[KINDS["kill"]] * (KILLS - 1)]


def _fault(random: Random, kind: Kind, targets: Targets) -> Fault:
    target = random.choice(sorted(targets.of(kind.takes)))
    level = random.randint(*kind.level.scheduled) if kind.level else 0
    longest = min(kind.seconds, LONGEST_SECONDS)
    return Fault(kind.name, target, level, round(random.uniform(SHORTEST_SECONDS, longest), 1))
