"""The ledger and parked messages: a dead letter, a redriven one, and garbage are in flight or accounted for."""

import pytest
from rich.console import Console

from chassis.events.record import Record
from fanout.commands.verify import show
from fanout.verify.contradictions import PARKED_RECEIPTS
from tests.integration.conftest import Broken
from tests.support.corruptions import OF_DEAD_LETTERS
from tests.support.simulated_system import SERVICES, of, placed


async def test_a_dead_letter_that_is_not_sent_yet_is_in_flight(copied: Broken) -> None:
    simulated = await copied("fraud")
    await simulated.run(
        "fraud",
        "INSERT INTO outbox (event_id, topic, headers) VALUES (gen_random_uuid(), 'orders.fraud.dlq', '[]')",
    )
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.in_flight) == ("waiting", False, 1)


SIDE_MESSAGE = (
    "INSERT INTO outbox (event_id, topic, headers, published_at, kafka_partition, kafka_offset) "
    "VALUES (gen_random_uuid(), '{}', '{}', now(), 0, 5)"
)
REACHED = "INSERT INTO consumer_offsets VALUES ('{}', '{}', 0, 6, 1, 1, 0, 0)"


@pytest.mark.parametrize(
    ("sender", "topic", "reader"),
    [("fraud", "orders.fraud.dlq", "dead_letters"), ("dead_letters", "orders.fraud.retry", "fraud")],
)
async def test_a_dead_letter_is_in_flight_until_it_is_stored_and_a_redriven_one_until_it_is_received(
    copied: Broken, sender: str, topic: str, reader: str
) -> None:
    simulated = await copied(sender, reader)
    await simulated.run(sender, SIDE_MESSAGE.format(topic, "[]"))
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.forwarded) == ("waiting", False, 1)
    await simulated.run(reader, REACHED.format(reader, topic))
    await simulated.run(
        reader, f"UPDATE consumer_offsets SET applied = 0, duplicates = 1 WHERE topic = '{topic}'"
    )
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.forwarded) == ("holds", True, 0)


async def test_an_effect_of_a_redriven_dead_letter_is_not_orphaned(copied: Broken) -> None:
    event_id = "00000000-0000-7000-8000-000000000001"
    simulated = await copied("fraud", "dead_letters")
    await simulated.run(
        "fraud", f"INSERT INTO inbox (consumer, event_id, status) VALUES ('fraud', '{event_id}', 'applied')"
    )
    await simulated.run("fraud", REACHED.format("fraud", "orders.fraud.retry"))
    assert (await simulated.audit()).verdict == "broken"
    await simulated.run(
        "dead_letters", SIDE_MESSAGE.format("orders.fraud.retry", f'[["ce_id", "{event_id}"]]')
    )
    report = await simulated.audit()
    assert (report.verdict, report.settled) == ("holds", True)


async def test_a_parked_event_is_neither_lost_nor_does_its_order_break_a_rule(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    order = await simulated.order()
    simulated.refused.add(("fraud", await placed(simulated, order)))
    await simulated.deliver()
    report = await simulated.audit()
    assert not [verdict for verdict in report.verdicts if verdict.offenders]
    assert (report.verdict, report.settled, of(report, "fraud").parked) == ("waiting", True, 1)
    assert [account.excess or account.deficit for account in report.accounts] == [0] * len(report.accounts)


GARBAGE = Record("orders", 3, 17, 1_772_366_400_000, b"?", b"garbage", [])


async def test_garbage_is_shown_as_of_an_unknown_producer_and_breaks_nothing(copied: Broken) -> None:
    simulated = await copied("fraud", "dead_letters")
    await simulated.park("fraud", GARBAGE)
    report = await simulated.audit()
    assert (report.verdict, of(report, "fraud").unknown_producer_parked) == ("waiting", 1)


@pytest.mark.parametrize("sentence", OF_DEAD_LETTERS)
@pytest.mark.parametrize("more", [0, 1])
async def test_a_dead_letter_of_which_one_row_was_deleted_is_named(
    copied: Broken, sentence: str, more: int
) -> None:
    """Whether or not a message of an unknown producer, which has no receipt, is parked as well."""
    simulated = await copied(*SERVICES)
    order = await simulated.order()
    event_id = await placed(simulated, order)
    simulated.refused.add(("fraud", event_id))
    await simulated.deliver()
    for _ in range(more):
        await simulated.park("fraud", GARBAGE)
    assert (await simulated.audit()).verdict == "waiting"
    await simulated.run(OF_DEAD_LETTERS[sentence].service, OF_DEAD_LETTERS[sentence].sql)
    report = await simulated.audit()
    [broken] = [verdict for verdict in report.verdicts if verdict.sentence == sentence]
    assert report.verdict == "broken" and broken.offenders
    if sentence == PARKED_RECEIPTS:
        assert event_id in broken.offenders[0]
    else:
        [(offset,)] = await simulated.run(
            "orders", f"SELECT kafka_offset FROM outbox WHERE event_id = '{event_id}'"
        )
        assert f"orders[0] at {offset}, parked by fraud" in broken.offenders


async def test_a_dead_letter_that_is_not_stored_yet_accuses_nobody(copied: Broken) -> None:
    simulated = await copied("fraud", "dead_letters")
    await simulated.park("fraud", GARBAGE)
    await simulated.run("dead_letters", "DELETE FROM dead_letters; DELETE FROM consumer_offsets")
    report = await simulated.audit()
    assert (report.verdict, report.forwarded) == ("waiting", 1)


async def test_what_is_parked_and_the_orders_that_wait_for_it_are_said_though_all_is_accounted_for(
    copied: Broken,
) -> None:
    """The stock of a paid order is reserved, and orders has parked the message that says so."""
    simulated = await copied(*SERVICES)
    order = await simulated.order()
    await simulated.collect("orders")
    wanted = f"SELECT event_id FROM outbox WHERE aggregate_id = '{order}' AND type = 'StockReserved'"
    [(event_id,)] = await simulated.run("inventory", wanted)
    simulated.refused.add(("orders", str(event_id)))
    await simulated.deliver()
    await simulated.park("fraud", GARBAGE)
    report = await simulated.audit()
    assert (report.verdict, report.settled) == ("waiting", True)
    assert list(report.unfinished_orders) == [order]
    assert report.conclusion == (
        "waiting: 2 parked messages hold 1 order back (fanout dlq ls); lost 0, applied twice 0"
    )
    console = Console(width=200, record=True)
    show(report, console)
    assert "parked (fanout dlq ls): fraud 1, orders 1" in console.export_text()
    await simulated.run(
        "dead_letters",
        "INSERT INTO actions (dead_letter_id, who, what, why, redrive) "
        "SELECT dead_letter_id, 'ada', 'discarded', 'a test', 0 FROM dead_letters; "
        "UPDATE dead_letters SET status = 'discarded'",
    )
    decided = await simulated.audit()
    assert decided.verdict == "holds"
    assert decided.conclusion == (
        "holds: lost 0, applied twice 0, in flight 0, parked 0; 1 order cannot go on: see above"
    )


@pytest.mark.parametrize(("since", "verdict"), [("2026-03-02", "waiting"), ("2026-02-28", "broken")])
async def test_a_dead_letter_from_before_the_time_that_its_consumer_was_rebuilt_from_accuses_nobody(
    copied: Broken, since: str, verdict: str
) -> None:
    """As `fanout replay analytics --from` leaves them: nothing is parked, and what was parked is stored."""
    simulated = await copied("fraud", "dead_letters")
    await simulated.park("fraud", GARBAGE)
    await simulated.run("fraud", "DELETE FROM parked")
    await simulated.run("fraud", f"INSERT INTO purges (what, before, purged) VALUES ('inbox', '{since}', 0)")
    assert (await simulated.audit()).verdict == verdict
