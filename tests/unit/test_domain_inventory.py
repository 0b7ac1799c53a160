"""Inventory's rules: allocation of stock, and the shortages of refused orders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain import Shortage, Units, allocate, total


@pytest.mark.parametrize(
    ("wanted", "held", "refused", "taken"),
    [
        ({}, [], {}, {}),
        ({"a": {"mug": 3}}, ["a"], {}, {"mug": 3}),
        ({"a": {"mug": 5}}, ["a"], {}, {"mug": 5}),
        ({"a": {"mug": 6}}, [], {"a": [Shortage("mug", 6, 5)]}, {}),
        ({"a": {"mug": 3}, "b": {"mug": 3}}, ["a"], {"b": [Shortage("mug", 3, 2)]}, {"mug": 3}),
        ({"a": {"mug": 9}, "b": {"mug": 3}}, ["b"], {"a": [Shortage("mug", 9, 5)]}, {"mug": 3}),
        ({"a": {"mug": 1, "print": 2}}, [], {"a": [Shortage("print", 2, 1)]}, {}),
        ({"a": {"unheard-of": 1}}, [], {"a": [Shortage("unheard-of", 1, 0)]}, {}),
        ({"a": {"print": 2, "mug": 6}}, [], {"a": [Shortage("mug", 6, 5), Shortage("print", 2, 1)]}, {}),
    ],
)
def test_each_order_in_turn_gets_all_its_lines_or_none(
    wanted: dict[str, Units], held: list[str], refused: dict[str, list[Shortage]], taken: dict[str, int]
) -> None:
    allocation = allocate(wanted, {"mug": 5, "print": 1})
    assert (list(allocation.held), allocation.refused, allocation.taken) == (held, refused, taken)


QUANTITIES = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1)


@given(
    st.dictionaries(st.text(min_size=1), QUANTITIES),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 20)),
)
def test_every_order_is_allocated_or_refused_and_no_unit_is_allocated_twice(
    wanted: dict[str, Units], on_hand: Units
) -> None:
    allocation = allocate(wanted, on_hand)
    assert allocation.held.keys() | allocation.refused.keys() == wanted.keys()
    assert not allocation.held.keys() & allocation.refused.keys()
    assert allocation.taken == total(line for units in allocation.held.values() for line in units.items())
    assert all(units <= on_hand[product] for product, units in allocation.taken.items())


def test_lines_of_one_product_add_up() -> None:
    assert total([("mug", 2), ("pencil", 1), ("mug", 3)]) == {"mug": 5, "pencil": 1}
