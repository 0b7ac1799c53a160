"""The demo counts outcomes and the outage from facts and times."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from fanout.scenario import between, outcomes, progress
from fanout.verify.records import Facts

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def facts(**orders: str) -> Facts:
    names = ("orders.placed", "orders.confirmed", "orders.shipped", "orders.cancelled")
    everything = dict.fromkeys((*names, "payments.declined", "inventory.rejected", "fraud.assessed"), "")
    known = everything | {name.replace("__", "."): ids for name, ids in orders.items()}
    return {name: Counter(ids.split()) for name, ids in known.items()}


def test_every_order_has_one_outcome() -> None:
    known = facts(
        orders__confirmed="1 2",
        orders__shipped="1",
        orders__cancelled="3 4 5",
        payments__declined="3",
        inventory__rejected="3 4",
    )
    assert set(outcomes([str(number) for number in range(1, 7)], known).values()) == {1}


def test_orders_of_others_do_not_count() -> None:
    known = facts(orders__placed="1 2", orders__shipped="2", orders__confirmed="2")
    assert [name for name, count in outcomes(["1"], known).items() if count] == ["not decided"]
    assert progress(["1"], known) == "placed 1, confirmed 0, shipped 0, cancelled 0, assessed by fraud 0"


def test_an_outage_counts_what_was_confirmed_in_it_and_not_assessed_before() -> None:
    confirmed = {"before": at(1), "seen": at(3), "during": at(4), "after": at(9)}
    assessed = {"before": at(1), "seen": at(1.5), "during": at(8.5), "after": at(9)}
    found = between(at(2), at(8), confirmed, assessed)
    assert (found.unassessed, found.caught_up) == ({"during"}, {"during"})
    assert str(found) == (
        "fraud was dead for 6.0 s: 1 order confirmed meanwhile, all 1 assessed after it came back"
    )


def test_an_outage_says_how_many_orders_were_never_assessed() -> None:
    found = between(at(2), at(8), {"1": at(4), "2": at(5)}, {"1": at(9)})
    assert str(found).endswith("2 orders confirmed meanwhile, only 1 assessed after it came back")
