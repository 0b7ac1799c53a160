"""The ledger and parked messages: a dead letter, a redriven one, and garbage are in flight or accounted for."""

import pytest
from rich.console import Console

from fanout.commands.verify import show
from tests.integration.conftest import Broken
from tests.support.simulated_system import SERVICES, Honest, of, placed


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


async def test_a_parked_event_is_neither_lost_nor_does_its_order_break_a_rule(
    copied: Broken, honest: Honest
) -> None:
    simulated = await copied("fraud")
    event_id = await placed(simulated, honest.orders["shipped"])
    await simulated.run("fraud", f"UPDATE inbox SET status = 'parked' WHERE event_id = '{event_id}'")
    await simulated.run("fraud", "UPDATE consumer_offsets SET applied = applied - 1, parked = parked + 1")
    await simulated.run("fraud", f"DELETE FROM assessments WHERE order_id = '{honest.orders['shipped']}'")
    await simulated.run("fraud", f"DELETE FROM orders_seen WHERE order_id = '{honest.orders['shipped']}'")
    report = await simulated.audit()
    assert (report.verdict, of(report, "fraud").parked) == ("holds", 1)


async def test_garbage_is_shown_as_of_an_unknown_producer_and_breaks_nothing(copied: Broken) -> None:
    simulated = await copied("fraud")
    await simulated.run(
        "fraud",
        "INSERT INTO parked (consumer, topic, partition, kafka_offset, headers, record_at, failure, error_type, "
        "error_message, attempts, first_failed_at) "
        "VALUES ('fraud', 'orders', 3, 17, '[]', now(), 'permanent', 'Undecodable', 'garbage', 1, now())",
    )
    report = await simulated.audit()
    assert (report.verdict, of(report, "fraud").unknown_producer_parked) == ("holds", 1)


LETTER = """
    INSERT INTO dead_letters (consumer, topic, partition, kafka_offset, record_at, headers, failure, error_type,
        error_message, attempts, first_failed_at, last_failed_at, status, redrive)
    VALUES ('{}', 'inventory', 0, 0, now(), '[]', 'permanent', 'E', 'e', 1, now(), now(), 'parked', 0)
"""


async def test_what_is_parked_and_the_orders_that_wait_for_it_are_said_though_all_is_accounted_for(
    copied: Broken,
) -> None:
    """The stock of a paid order is reserved, and orders has parked the message that says so."""
    simulated = await copied(*SERVICES)
    order = await simulated.order()
    await simulated.collect("orders")
    wanted = f"SELECT event_id FROM outbox WHERE aggregate_id = '{order}' AND type = 'StockReserved'"
    [(event_id,)] = await simulated.run("inventory", wanted)
    await simulated.run(
        "orders", f"INSERT INTO inbox (consumer, event_id, status) VALUES ('orders', '{event_id}', 'parked')"
    )
    await simulated.deliver()
    await simulated.run(
        "orders",
        "UPDATE consumer_offsets SET applied = applied - 1, parked = parked + 1 WHERE topic = 'inventory'",
    )
    await simulated.run("dead_letters", ";".join(LETTER.format(consumer) for consumer in ("orders", "fraud")))
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
