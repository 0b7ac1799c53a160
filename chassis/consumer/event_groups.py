"""Arranges a batch into runs of one event type, as few as it can, never moving an event past another of its key."""

from collections.abc import Iterable
from dataclasses import dataclass

from chassis.events.record import Delivery
from schemas import Event


@dataclass(slots=True)
class Run:
    event_type: type[Event]
    deliveries: list[Delivery]


def arrange(deliveries: Iterable[Delivery]) -> list[Run]:
    """Each event joins the earliest run of its type that is not before its key's previous event (first fit)."""
    runs: list[Run] = []
    last_run_of_key: dict[str, int] = {}
    for delivery in deliveries:
        event_type, key = type(delivery.event), delivery.event.key
        earliest = last_run_of_key.get(key, 0)
        position = next(
            (i for i in range(earliest, len(runs)) if runs[i].event_type is event_type), len(runs)
        )
        if position == len(runs):
            runs.append(Run(event_type, []))
        runs[position].deliveries.append(delivery)
        last_run_of_key[key] = position
    return runs
