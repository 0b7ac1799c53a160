"""Allocates stock to orders: all lines of an order or none, first come first served."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Units = Mapping[str, int]


@dataclass(frozen=True)
class Shortage:
    product_id: str
    requested: int
    available: int


@dataclass(frozen=True)
class Allocation:
    held: dict[str, Units]
    refused: dict[str, list[Shortage]]
    taken: dict[str, int]


def allocate(wanted: Mapping[str, Units], on_hand: Units) -> Allocation:
    """Returns what each order gets, which orders are refused and why, and what is taken from stock per product."""
    held: dict[str, Units] = {}
    refused: dict[str, list[Shortage]] = {}
    left = dict(on_hand)
    for order_id, quantities in wanted.items():
        if missing := shortages(quantities, left):
            refused[order_id] = missing
        else:
            held[order_id] = quantities
            left |= {product_id: left[product_id] - units for product_id, units in quantities.items()}
    return Allocation(
        held, refused, total(line for quantities in held.values() for line in quantities.items())
    )


def shortages(quantities: Units, on_hand: Units) -> list[Shortage]:
    """Returns the products of which too little is on hand; an unknown product counts as 0."""
    return [
        Shortage(product_id, quantity, on_hand.get(product_id, 0))
        for product_id, quantity in sorted(quantities.items())
        if quantity > on_hand.get(product_id, 0)
    ]


def total(lines: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Returns the units per product, summed over all lines."""
    units: dict[str, int] = {}
    for product_id, quantity in lines:
        units[product_id] = units.get(product_id, 0) + quantity
    return units
