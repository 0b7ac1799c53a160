"""`fanout scale` shows which worker reads which partitions."""

from fanout.commands.scale import ABSENT, IDLE, Share, lines

FIRST, SECOND = "inventory-worker", "inventory-worker-2"


def test_a_worker_is_shown_with_the_partitions_of_each_topic() -> None:
    share = Share(FIRST, {"orders": [0, 1], "orders.inventory.retry": [0]})
    assert list(lines([share], [FIRST])) == [f"{FIRST}  orders 0,1 · orders.inventory.retry 0"]


def test_a_worker_without_partitions_is_idle_and_one_that_is_missing_is_named() -> None:
    shown = list(lines([Share(FIRST, {"orders": [0]}), Share(SECOND)], [FIRST, SECOND, "inventory-worker-3"]))
    assert shown[1:] == [f"{SECOND}  {IDLE}", f"inventory-worker-3  {ABSENT}"]
