"""What is left of a service whose folder is gone, and what belongs to nobody's service."""

import pytest

from fanout.provision.prune import Thing, is_side_topic, orphans_in

KEPT = {"fraud", "orders", "postgres", "registry"}


@pytest.mark.parametrize(
    ("topic", "is_one"),
    [
        ("orders.loyalty.dlq", True),
        ("shipments.loyalty.retry", True),
        ("orders", False),
        ("orders.loyalty", False),
        ("another.systems.dlq", False),
        ("orders.loyalty.more.dlq", False),
    ],
)
def test_only_the_topics_beside_our_own_belong_to_a_consumer(topic: str, is_one: bool) -> None:
    assert is_side_topic(topic) is is_one


def test_everything_of_one_service_is_found_and_nothing_of_another() -> None:
    everything = {
        "process": [
            "postgres",
            "parent-watch",
            "mailbox",
            "loyalty-worker",
            "loyalty-worker-2",
            "fraud-worker",
        ],
        "port of": ["loyalty-worker", "fraud-worker", "orders-api"],
        "database": ["loyalty", "fraud"],
        "login": ["loyalty", "fraud", "a_persons_own"],
        "group": ["loyalty", "my-console-consumer"],
        "topic": ["orders", "orders.loyalty.dlq", "orders.loyalty.retry", "orders.fraud.dlq"],
        "block": ["loyalty-worker", "fraud-worker"],
    }
    things = [Thing(kind, name) for kind, names in everything.items() for name in names]
    found = orphans_in(things, KEPT)
    assert {service: list(map(str, orphans)) for service, orphans in found.items()} == {
        "loyalty": [
            "process loyalty-worker",
            "process loyalty-worker-2",
            "port of loyalty-worker",
            "database loyalty",
            "login loyalty",
            "group loyalty",
            "topic orders.loyalty.dlq",
            "topic orders.loyalty.retry",
            "block loyalty-worker of docker-compose.yml",
        ]
    }


def test_what_a_removal_that_failed_half_way_left_is_still_found() -> None:
    left = [Thing("port of", "loyalty-worker"), Thing("login", "loyalty"), Thing("group", "loyalty")]
    assert orphans_in(left, KEPT) == {"loyalty": left}
