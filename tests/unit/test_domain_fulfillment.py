"""The label of a parcel."""

import re

from services.fulfillment.domain import label


def test_an_order_always_has_the_same_label() -> None:
    assert label("o-1") == label("o-1") != label("o-2")


def test_a_tracking_code_can_be_read_over_the_phone() -> None:
    assert re.fullmatch(r"FAN-[0-9A-F]{12}", label("o-1").tracking_code)
