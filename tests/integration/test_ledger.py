"""The ledger on real Postgres: an honest system holds, and each way of breaking it is seen and named."""

import asyncio
from uuid import UUID

import pytest
from rich.console import Console

from fanout.commands.verify import show
from fanout.verify.lost import lost_events
from fanout.verify.report import Report, as_json
from tests.integration.conftest import Broken
from tests.support.corruptions import CORRUPTIONS, OF_DEAD_LETTERS
from tests.support.planted_contents import OUTBOX_CHECK, SEEN
from tests.support.simulated_system import HOLDS, Honest, of, placed


def offenders(report: Report) -> dict[str, str]:
    return {verdict.sentence: " ".join(verdict.offenders) for verdict in report.verdicts if verdict.offenders}


async def test_an_honest_world_holds(copied: Broken) -> None:
    report = await (await copied()).audit()
    assert offenders(report) == {}
    assert (report.verdict, report.settled, report.conclusion) == ("holds", True, HOLDS)
    assert all(account.published == account.applied > 0 for account in report.accounts)


async def test_every_check_has_a_corruption_and_every_corruption_a_check(copied: Broken) -> None:
    report = await (await copied()).audit()
    others = {verdict.sentence for verdict in report.verdicts if not verdict.sentence.startswith(SEEN)}
    assert {sentence for sentence in others if OUTBOX_CHECK not in sentence} == (
        CORRUPTIONS.keys() | OF_DEAD_LETTERS.keys()
    )


@pytest.mark.parametrize("sentence", CORRUPTIONS)
async def test_each_check_can_fail_and_names_the_offender(
    copied: Broken, honest: Honest, sentence: str
) -> None:
    corruption = CORRUPTIONS[sentence]
    simulated = await copied(corruption.service)
    await simulated.run(corruption.service, corruption.sql.format(**honest.orders))
    report = await simulated.audit()
    assert report.verdict == "broken"
    assert corruption.named.format(**honest.orders) in offenders(report)[sentence]


async def test_an_event_behind_the_consumer_without_a_receipt_is_lost(copied: Broken, honest: Honest) -> None:
    simulated = await copied("fraud")
    await simulated.run(
        "fraud", f"DELETE FROM inbox WHERE event_id = '{await placed(simulated, honest.orders['shipped'])}'"
    )
    await simulated.run(
        "fraud", "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1"
    )
    report = await simulated.audit()
    assert report.conclusion == "broken: lost 1, applied twice 0; 2 checks violated"
    assert [event.order_id for event in of(report, "fraud").lost_events] == [honest.orders["shipped"]]


IGNORED = """
    INSERT INTO ignored_events (consumer, topic, partition, type, first_offset, last_offset, events, first_at, last_at)
    VALUES ('inventory', 'orders', {partition}, '{type}', {first}, 40, 12, now(), now())
"""


async def test_ignored_events_are_named_and_neither_lost_nor_a_violation(
    copied: Broken, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated = await copied("inventory")
    await simulated.run("inventory", IGNORED.format(partition=0, type="OrderGifted", first=7))
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.conclusion) == ("holds", True, HOLDS)
    assert as_json(report)["ignored"] == {"OrderGifted": {"inventory": 12}}
    show(report, Console(width=200))
    assert (
        "ignored 12 events of types that the consumer's release does not know: OrderGifted 12 (inventory)"
        in capsys.readouterr().out
    )


async def test_events_that_were_ignored_are_in_flight_after_the_upgrade_until_they_are_applied(
    copied: Broken, honest: Honest
) -> None:
    simulated, order = await copied("fraud", "orders"), honest.orders["shipped"]
    event_id = await placed(simulated, order)
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    await simulated.run(
        "fraud", "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1"
    )
    assert (await simulated.audit()).lost == 1
    await simulated.run(
        "fraud",
        "INSERT INTO ignored_events (consumer, topic, partition, type, first_offset, last_offset, events, first_at, "
        "last_at) SELECT 'fraud', topic, partition, 'OrderPlaced', 0, next_offset, 1, now(), now() "
        "FROM consumer_offsets WHERE topic = 'orders'",
    )
    report = await simulated.audit()
    assert (report.lost, report.in_flight, report.settled) == (0, 1, False)


async def test_a_receipt_whose_event_no_handler_saw_is_lost(copied: Broken) -> None:
    simulated = await copied("fraud")
    await simulated.run(
        "fraud", "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1"
    )
    assert (await simulated.audit()).lost == 1


async def test_a_handler_called_again_for_one_receipt_is_applied_twice(copied: Broken) -> None:
    simulated = await copied("inventory")
    await simulated.run(
        "inventory",
        "UPDATE consumer_offsets SET applied = applied + 1, received = received + 1 WHERE topic = 'orders'",
    )
    report = await simulated.audit()
    assert (report.verdict, report.applied_twice, of(report, "inventory").excess) == ("broken", 1, 1)


async def test_one_fact_published_twice_is_applied_twice(copied: Broken, honest: Honest) -> None:
    simulated, order = await copied("fulfillment"), honest.orders["shipped"]
    await simulated.run(
        "fulfillment",
        "INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, headers) "
        f"VALUES (gen_random_uuid(), 'shipments', 'OrderShipped', '{order}', 2, '[]')",
    )
    report = await simulated.audit()
    assert (report.verdict, report.applied_twice) == ("broken", 1)
    assert f"{order} (OrderShipped 2 times)" in offenders(report)["nothing happened twice to one order"]


async def test_undelivered_orders_are_in_flight_and_wrong_in_nothing(copied: Broken) -> None:
    simulated = await copied("orders")
    await simulated.order()
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.unpublished["orders"]) == ("waiting", False, 1)
    assert report.conclusion.startswith("waiting: 6 events in flight, oldest ")
    assert report.conclusion.endswith(" s; lost 0, applied twice 0")


async def test_a_world_at_work_is_never_accused(copied: Broken, honest: Honest) -> None:
    """Audits as fast as they go while orders are placed, decided and shipped."""
    simulated = await copied(*honest.names)

    async def live() -> None:
        for _ in range(3):
            await asyncio.gather(simulated.order(), simulated.order(card="tok_declined"))
            await simulated.deliver()

    life, reports = asyncio.create_task(live()), []
    while not life.done():
        reports.append(await simulated.audit())
    await life
    for report in reports:
        assert (offenders(report), report.lost, report.applied_twice) == ({}, 0, 0)
    assert not all(report.settled for report in reports)
    assert (await simulated.audit()).settled


async def test_a_row_that_cannot_be_sent_is_named_until_an_operator_decides(copied: Broken) -> None:
    simulated = await copied("orders")
    await simulated.order()
    refused = (
        "UPDATE outbox SET set_aside_at = now(), error_type = 'MSG_SIZE_TOO_LARGE' WHERE published_at IS NULL"
    )
    await simulated.run("orders", refused)
    report = await simulated.audit()
    assert (report.verdict, report.settled, len(report.set_aside)) == ("broken", False, 1)
    assert (
        "broken: lost 0, applied twice 0; 1 outbox row cannot be sent; 6 events in flight"
        in report.conclusion
    )
    await simulated.run("orders", "UPDATE outbox SET discarded_at = now() WHERE set_aside_at IS NOT NULL")
    report = await simulated.audit()
    assert (report.verdict, report.settled, len(report.set_aside)) == ("holds", True, 0)
    assert [row.is_discarded for row in report.refused] == [True]


async def test_each_lost_event_is_named_with_its_outbox_row_and_the_consumer_that_lacks_it(
    copied: Broken, honest: Honest
) -> None:
    simulated, order = await copied("fraud", "notifications"), honest.orders["shipped"]
    event_id = await placed(simulated, order)
    for consumer in ("fraud", "notifications"):
        await simulated.run(consumer, f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    [(outbox_id,)] = await simulated.run("orders", f"SELECT id FROM outbox WHERE event_id = '{event_id}'")
    found = [event async for event in lost_events(simulated.urls)]
    assert {event.consumer for event in found} == {"fraud", "notifications"}
    assert {(event.service, event.outbox_id, str(event.event_id), event.order_id) for event in found} == {
        ("orders", outbox_id, event_id, order)
    }


async def test_a_double_and_a_lack_in_one_consumer_do_not_cancel_each_other(copied: Broken) -> None:
    """Their sum is right: fulfillment has applied one event too many of one partition and one too few of another."""
    simulated = await copied("fulfillment")
    await simulated.run(
        "fulfillment",
        "INSERT INTO consumer_offsets (consumer, topic, partition, next_offset, received, applied, duplicates, parked) "
        "VALUES ('fulfillment', 'orders', 1, 9, 1, 1, 0, 0); "
        "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1 WHERE partition = 0",
    )
    report = await simulated.audit()
    assert (report.verdict, report.lost, report.applied_twice) == ("broken", 1, 1)
    excess = {str(each.partition): each.excess for each in of(report, "fulfillment").partitions}
    assert excess == {"orders[0]": -1, "orders[1]": 1}


async def test_one_event_applied_twice_and_one_lost_are_both_found(copied: Broken, honest: Honest) -> None:
    """The count of receipts and applications is right."""
    simulated = await copied("inventory")
    event_id = await placed(simulated, honest.orders["shipped"])
    await simulated.run("inventory", f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    report = await simulated.audit()
    assert (report.verdict, report.lost, report.applied_twice) == ("broken", 1, 1)


async def test_a_receipt_exchanged_for_another_is_a_loss_and_an_orphan(
    copied: Broken, honest: Honest
) -> None:
    """Its id differs in the last bit only, so counts, times and counters are right."""
    simulated = await copied("fraud")
    event_id = UUID(await placed(simulated, honest.orders["shipped"]))
    other = UUID(int=event_id.int ^ 1)
    await simulated.run("fraud", f"UPDATE inbox SET event_id = '{other}' WHERE event_id = '{event_id}'")
    report = await simulated.audit()
    assert (report.verdict, report.lost, of(report, "fraud").orphaned) == ("broken", 1, [other])


ELSEWHERE = """
    INSERT INTO topic_ids VALUES ('orders', '{first}', now() - interval '1 day'), ('orders', '{second}', now());
    UPDATE {table} SET topic_id = '{topic_id}' WHERE topic = 'orders'
"""
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("sent", "read", "next_offset", "lost"),
    [
        (FIRST, FIRST, 9, 1),
        (FIRST, SECOND, 0, 1),
        (SECOND, FIRST, 9, 0),
        (SECOND, SECOND, 0, 0),
        (None, SECOND, 0, 1),
    ],
    ids=[
        "passed",
        "gone with the old topic",
        "in the new topic",
        "not reached in the new topic",
        "of an old release",
    ],
)
async def test_an_event_is_judged_by_the_topic_that_it_was_sent_to(
    copied: Broken, honest: Honest, sent: UUID | None, read: UUID, next_offset: int, lost: int
) -> None:
    simulated, event_id = await copied("fraud", "orders"), None
    event_id = await placed(simulated, honest.orders["shipped"])
    for service, table, topic_id in (("orders", "outbox", sent), ("fraud", "consumer_offsets", read)):
        sql = ELSEWHERE.format(first=FIRST, second=SECOND, table=table, topic_id=topic_id)
        await simulated.run(service, sql.replace("'None'", "NULL"))
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{event_id}'")
    await simulated.run(
        "fraud",
        f"UPDATE consumer_offsets SET next_offset = {next_offset}, applied = applied - 1, received = received - 1",
    )
    report = await simulated.audit()
    assert (report.lost, report.in_flight) == (lost, 1 - lost)


async def test_records_deleted_unread_are_lost_though_no_outbox_knows_them(copied: Broken) -> None:
    simulated = await copied("fraud")
    await simulated.run("fraud", "UPDATE consumer_offsets SET lost = 30")
    assert (await simulated.audit()).lost == 30 - sum(
        [(await simulated.run("orders", "SELECT count(*) FROM outbox WHERE kafka_partition = 0"))[0][0]]
    )


async def test_a_consumer_that_stands_still_is_named_with_its_time(copied: Broken) -> None:
    simulated = await copied("orders", "fraud", "inventory")
    order = await simulated.order()
    simulated.offsets["orders"] += 1
    await simulated.run(
        "orders",
        "UPDATE outbox SET published_at = now() - interval '31 seconds', kafka_partition = 0, kafka_offset = "
        f"(SELECT max(kafka_offset) + 1 FROM outbox) WHERE aggregate_id = '{order}'",
    )
    await simulated.run("fraud", "UPDATE inbox SET received_at = received_at - interval '1 hour'")
    await simulated.run("inventory", "UPDATE inbox SET received_at = now()")
    report = await simulated.audit()
    assert "fraud" in report.stalled and "inventory" not in report.stalled
    assert 31 <= report.stalled["fraud"] < 60
    assert report.conclusion.startswith("waiting: 6 events in flight, oldest ")
    assert f"fraud stalled for {report.stalled['fraud']:.0f} s" in report.conclusion


async def test_a_second_version_of_an_assessment_is_no_double(copied: Broken, honest: Honest) -> None:
    simulated = await copied("fraud")
    await simulated.run(
        "fraud",
        "INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, headers) "
        f"VALUES (gen_random_uuid(), 'fraud', 'FraudAssessed', '{honest.orders['shipped']}', 2, '[]')",
    )
    assert (await simulated.audit()).applied_twice == 0


async def test_an_assessment_is_pending_while_fraud_has_not_received_the_order(copied: Broken) -> None:
    simulated = await copied("orders")
    order = await simulated.order()
    sentence = "a placed order is assessed"
    for _ in range(2):
        report = await simulated.audit()
        [assessed] = [verdict for verdict in report.verdicts if verdict.sentence == sentence]
        assert (assessed.offenders, assessed.pending) == ([], [order])
        await simulated.run(
            "orders", f"UPDATE outbox SET event_id = gen_random_uuid() WHERE aggregate_id = '{order}'"
        )
