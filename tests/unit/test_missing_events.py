"""An event of a stranger that no outbox can have held is not taken over into one."""

from dataclasses import replace

import pytest

from fanout.recover.missing import is_storable
from schemas import Event
from tests.support.sample_events import order_placed

PLACED = order_placed("o-1")


@pytest.mark.parametrize(
    "event",
    [
        replace(PLACED, order_id="\0"),
        replace(PLACED, customer_id="c\0"),
        replace(PLACED, lines=(replace(PLACED.lines[0], product_id="a\0b"),)),
    ],
    ids=["key", "field", "nested field"],
)
def test_an_event_with_a_nul_in_any_text_was_in_no_outbox(event: Event) -> None:
    assert is_storable(PLACED) and not is_storable(event)
