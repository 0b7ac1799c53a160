"""The pattern of dead-letter topics matches as the client library applies it: from the beginning of a name."""

import re

import pytest

from chassis.events.topics import DEAD_LETTERS, dead_letter_topic, redrive_topic


@pytest.mark.parametrize("name", [dead_letter_topic("orders", "fraud"), dead_letter_topic("new.orders", "x")])
def test_a_dead_letter_topic_is_found(name: str) -> None:
    assert re.match(DEAD_LETTERS, name)


@pytest.mark.parametrize(
    "name",
    ["orders.fraud.dlq.backup", "orders.fraud.dlq-old", "orders", "dlq", redrive_topic("orders", "dlq")],
)
def test_a_topic_with_a_similar_name_is_not_read(name: str) -> None:
    assert not re.match(DEAD_LETTERS, name)
