"""What counts as left over by a service whose folder is gone, and what is nobody's business."""

import pytest

from fanout.provision.orphans import Everything, Leftovers, is_side_topic, leftovers_of, names


@pytest.mark.parametrize(
    ("topic", "is_one"),
    [
        ("orders.loyalty.dlq", True),
        ("shipments.loyalty.retry", True),
        ("orders", False),
        ("orders.loyalty", False),
        ("somebody.elses.dlq", False),
        ("orders.loyalty.more.dlq", False),
    ],
)
def test_only_the_topics_beside_our_own_belong_to_a_consumer(topic: str, is_one: bool) -> None:
    assert is_side_topic(topic) is is_one


def test_everything_of_one_service_is_found_and_nothing_of_another() -> None:
    everything = Everything(
        processes={"postgres", "loyalty-worker", "loyalty-worker-2", "fraud-worker"},
        ports={"loyalty-worker", "fraud-worker", "orders-api"},
        databases={"loyalty", "fraud"},
        logins={"loyalty", "fraud"},
        groups={"loyalty", "my-console-consumer"},
        topics={"orders", "orders.loyalty.dlq", "orders.loyalty.retry", "orders.fraud.dlq"},
    )
    assert names(everything) == {"loyalty", "fraud", "orders"}
    assert leftovers_of("loyalty", everything) == Leftovers(
        service="loyalty",
        processes=["loyalty-worker", "loyalty-worker-2"],
        ports=["loyalty-worker"],
        database=True,
        login=True,
        group=True,
        topics=["orders.loyalty.dlq", "orders.loyalty.retry"],
    )


def test_what_a_removal_by_halves_left_is_still_found() -> None:
    nothing: set[str] = set()
    everything = Everything(nothing, {"loyalty-worker"}, nothing, {"loyalty"}, {"loyalty"}, nothing)
    assert names(everything) == {"loyalty"}
    assert leftovers_of("loyalty", everything).lines() == [
        "port of loyalty-worker",
        "login loyalty",
        "group loyalty",
    ]
