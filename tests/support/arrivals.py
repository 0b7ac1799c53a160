"""For hypothesis: every way in which the steps of some orders can reach one service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from operator import itemgetter

from hypothesis import strategies as st

from tests.support.order_histories import Request, Step, Telling, name_of


class Way(Enum):
    """Parked at its position, an event is redriven by the redrive topic, at any later time."""

    FIRST = "first"
    PARKED = "parked"
    REDRIVEN = "redriven"


@dataclass(frozen=True)
class Arrival:
    order_id: str
    step: Step
    way: Way = Way.FIRST
    ends_a_batch: bool = True

    @property
    def what(self) -> tuple[str, str]:
        return self.order_id, name_of(self.step)

    def __repr__(self) -> str:
        return f"<{self.order_id} {name_of(self.step)} {self.way.value}{'; ' * self.ends_a_batch}>"


Lanes = dict[tuple[str, str], list[Arrival]]
"""By order and topic; what is in one lane keeps its order."""


@st.composite
def arrivals(draw: st.DrawFn, tellings: Sequence[Telling], redrives: bool) -> list[Arrival]:
    """Topics interleaved, some events repeated later, cut into batches; with `redrives`, some parked at first."""
    lanes, sequence, numbers = _lanes(tellings), list[Arrival](), count()
    causes = {(told.order_id, name): told.causes[name] for told in tellings for name in told.causes}
    heard: set[tuple[str, str]] = set()
    while lanes:
        lane = draw(
            st.sampled_from(sorted(lane for lane in lanes if _possible(lanes[lane][0], causes, heard)))
        )
        arrival = _next(lanes, lane)
        if redrives and _may_be_parked(arrival) and draw(st.booleans()):
            lanes[arrival.order_id, f"retry {next(numbers)}"] = [replace(arrival, way=Way.REDRIVEN)]
            arrival = replace(arrival, way=Way.PARKED)
        else:
            heard.add(arrival.what)
        sequence.append(arrival)
    repeated = _with_repeats(draw, sequence)
    return [replace(arrival, ends_a_batch=draw(st.booleans())) for arrival in repeated]


def _lanes(tellings: Sequence[Telling]) -> Lanes:
    lanes: Lanes = {}
    for told in tellings:
        for step in told.steps:
            topic = "http" if isinstance(step, Request) else step.TOPIC
            lanes.setdefault((told.order_id, topic), []).append(Arrival(told.order_id, step))
    return lanes


def _next(lanes: Lanes, lane: tuple[str, str]) -> Arrival:
    first, *rest = lanes.pop(lane)
    if rest:
        lanes[lane] = rest
    return first


def _possible(
    arrival: Arrival, causes: Mapping[tuple[str, str], set[str]], heard: set[tuple[str, str]]
) -> bool:
    return all((arrival.order_id, cause) in heard for cause in causes[arrival.what])


def _may_be_parked(arrival: Arrival) -> bool:
    return arrival.way is Way.FIRST and not isinstance(arrival.step, Request)


def _with_repeats(draw: st.DrawFn, sequence: Sequence[Arrival]) -> list[Arrival]:
    """Kafka may deliver anything again, later: a rebalance, a crash, a relay that never saw its report."""
    places = st.integers(0, len(sequence) - 1)
    pairs = draw(st.lists(st.tuples(places, places), max_size=6))
    result = list(sequence)
    for first, later in sorted(map(sorted, pairs), key=itemgetter(1), reverse=True):
        if not isinstance(sequence[first].step, Request):
            way = Way.FIRST if sequence[first].way is Way.PARKED else sequence[first].way
            result.insert(later + 1, replace(sequence[first], way=way))
    return result
