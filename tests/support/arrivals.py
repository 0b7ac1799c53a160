"""Hypothesis strategies for the sequences in which the steps of some orders can reach one service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import count
from operator import itemgetter

from hypothesis import strategies as st

from tests.support.order_histories import OrderSteps, Request, Step, name_of


class Delivery(Enum):
    """How an event arrives: as first delivered, parked at that position, or redriven at any later one."""

    FIRST = "first"
    PARKED = "parked"
    REDRIVEN = "redriven"


@dataclass(frozen=True)
class Arrival:
    order_id: str
    step: Step
    delivery: Delivery = Delivery.FIRST
    ends_a_batch: bool = True

    @property
    def what(self) -> tuple[str, str]:
        return self.order_id, name_of(self.step)

    def __repr__(self) -> str:
        return f"<{self.order_id} {name_of(self.step)} {self.delivery.value}{'; ' * self.ends_a_batch}>"


Queues = dict[tuple[str, str], list[Arrival]]
"""Arrivals by order and topic; those in one queue stay in order."""


@st.composite
def arrivals(draw: st.DrawFn, orders: Sequence[OrderSteps], redrives: bool) -> list[Arrival]:
    """Draws arrivals in batches: topics interleaved, some events redelivered later; with `redrives`, some parked."""
    queues, sequence, numbers = _queues(orders), list[Arrival](), count()
    prerequisites = {
        (order.order_id, name): order.prerequisites[name] for order in orders for name in order.prerequisites
    }
    arrived: set[tuple[str, str]] = set()
    while queues:
        queue = draw(
            st.sampled_from(
                sorted(queue for queue in queues if _possible(queues[queue][0], prerequisites, arrived))
            )
        )
        arrival = _next(queues, queue)
        if redrives and _may_be_parked(arrival) and draw(st.booleans()):
            queues[arrival.order_id, f"retry {next(numbers)}"] = [
                replace(arrival, delivery=Delivery.REDRIVEN)
            ]
            arrival = replace(arrival, delivery=Delivery.PARKED)
        else:
            arrived.add(arrival.what)
        sequence.append(arrival)
    redelivered = _with_redeliveries(draw, sequence)
    return [replace(arrival, ends_a_batch=draw(st.booleans())) for arrival in redelivered]


def _queues(orders: Sequence[OrderSteps]) -> Queues:
    queues: Queues = {}
    for order in orders:
        for step in order.steps:
            topic = "http" if isinstance(step, Request) else step.TOPIC
            queues.setdefault((order.order_id, topic), []).append(Arrival(order.order_id, step))
    return queues


def _next(queues: Queues, queue: tuple[str, str]) -> Arrival:
    first, *rest = queues.pop(queue)
    if rest:
        queues[queue] = rest
    return first


def _possible(
    arrival: Arrival, prerequisites: Mapping[tuple[str, str], set[str]], arrived: set[tuple[str, str]]
) -> bool:
    return all((arrival.order_id, step) in arrived for step in prerequisites[arrival.what])


def _may_be_parked(arrival: Arrival) -> bool:
    return arrival.delivery is Delivery.FIRST and not isinstance(arrival.step, Request)


def _with_redeliveries(draw: st.DrawFn, sequence: Sequence[Arrival]) -> list[Arrival]:
    """Repeats some events later, as Kafka does after a rebalance, a crash, or a lost delivery report."""
    places = st.integers(0, len(sequence) - 1)
    pairs = draw(st.lists(st.tuples(places, places), max_size=6))
    result = list(sequence)
    for first, later in sorted(map(sorted, pairs), key=itemgetter(1), reverse=True):
        if not isinstance(sequence[first].step, Request):
            delivery = (
                Delivery.FIRST if sequence[first].delivery is Delivery.PARKED else sequence[first].delivery
            )
            result.insert(later + 1, replace(sequence[first], delivery=delivery))
    return result
