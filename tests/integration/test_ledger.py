"""The ledger on real Postgres: an honest world holds, and each way of breaking it is seen and named."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from itertools import count

import pytest
from sqlalchemy.engine import URL

from fanout.ledger.accounts import Account
from fanout.ledger.report import Report
from tests.integration.ledger_plants import PLANTS
from tests.integration.ledger_world import Honest, World, copy, create, drop, live, world_at

_numbers = count(1)


Broken = Callable[..., Awaitable[World]]


@pytest.fixture(scope="module")
def honest(postgres_url: URL) -> Iterator[Honest]:
    names = asyncio.run(create(postgres_url, f"ledger_{os.getpid()}"))
    try:
        yield asyncio.run(live(world_at(postgres_url, names), names))
    finally:
        asyncio.run(drop(postgres_url, names.values()))


@pytest.fixture
async def copied(honest: Honest, postgres_url: URL) -> AsyncIterator[Broken]:
    """`await copied("payments")` is the honest world, of which the named services may be broken."""
    made: list[tuple[World, Mapping[str, str]]] = []

    async def make(*services: str) -> World:
        chosen = {service: honest.names[service] for service in services}
        names = await copy(postgres_url, chosen, str(next(_numbers)))
        world = world_at(postgres_url, {**honest.names, **names}, honest.offsets)
        made.append((world, names))
        return world

    yield make
    for world, names in made:
        await world.close()
        await drop(postgres_url, names.values())


def of(report: Report, consumer: str) -> Account:
    return next(account for account in report.accounts if account.consumer == consumer)


def offenders(report: Report) -> dict[str, str]:
    return {verdict.sentence: " ".join(verdict.offenders) for verdict in report.verdicts if verdict.offenders}


async def test_an_honest_world_holds(copied: Broken) -> None:
    report = await (await copied()).audit()
    assert offenders(report) == {}
    assert (report.holds, report.settled, report.conclusion) == (True, True, "lost 0, applied twice 0")
    assert all(account.published == account.applied > 0 for account in report.accounts)


async def test_every_check_has_a_plant_and_every_plant_a_check(copied: Broken) -> None:
    report = await (await copied()).audit()
    assert {verdict.sentence for verdict in report.verdicts} == set(PLANTS)


@pytest.mark.parametrize("sentence", PLANTS)
async def test_each_check_can_fail_and_names_the_offender(
    copied: Broken, honest: Honest, sentence: str
) -> None:
    plant = PLANTS[sentence]
    world = await copied(plant.service)
    await world.run(plant.service, plant.sql.format(**honest.orders))
    report = await world.audit()
    assert not report.holds
    assert plant.named.format(**honest.orders) in offenders(report)[sentence]


async def test_an_event_behind_the_consumer_without_a_receipt_is_lost(copied: Broken, honest: Honest) -> None:
    world = await copied("fraud")
    await world.run("fraud", f"DELETE FROM inbox WHERE event_id = '{await placed(world, honest)}'")
    await world.run("fraud", "UPDATE progress SET applied = applied - 1, repeated = repeated + 1")
    report = await world.audit()
    assert (report.holds, report.conclusion) == (False, "lost 1, applied twice 0")
    assert [event.order_id for event in of(report, "fraud").lost] == [honest.orders["shipped"]]


async def test_a_receipt_whose_event_no_handler_saw_is_lost(copied: Broken) -> None:
    world = await copied("fraud")
    await world.run("fraud", "UPDATE progress SET applied = applied - 1, repeated = repeated + 1")
    assert (await world.audit()).lost == 1


async def test_a_handler_called_again_for_one_receipt_is_applied_twice(copied: Broken) -> None:
    world = await copied("inventory")
    await world.run(
        "inventory",
        "UPDATE progress SET applied = applied + 1, received = received + 1 WHERE topic = 'orders'",
    )
    report = await world.audit()
    assert (report.holds, report.applied_twice, of(report, "inventory").surplus) == (False, 1, 1)


async def test_one_fact_published_twice_is_applied_twice(copied: Broken, honest: Honest) -> None:
    world, order = await copied("fulfillment"), honest.orders["shipped"]
    await world.run(
        "fulfillment",
        "INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, headers) "
        f"VALUES (gen_random_uuid(), 'shipments', 'OrderShipped', '{order}', 2, '[]')",
    )
    report = await world.audit()
    assert (report.holds, report.applied_twice) == (False, 1)
    assert f"{order} (OrderShipped 2 times)" in offenders(report)["nothing happened twice to one order"]


async def test_undelivered_orders_are_on_the_way_and_wrong_in_nothing(copied: Broken) -> None:
    world = await copied("orders")
    await world.order()
    report = await world.audit()
    assert (report.holds, report.settled, report.unpublished["orders"]) == (True, False, 1)
    assert report.conclusion == "lost 0, applied twice 0, on the way 6"


async def test_a_dead_letter_that_is_not_sent_yet_is_on_the_way(copied: Broken) -> None:
    world = await copied("fraud")
    await world.run(
        "fraud",
        "INSERT INTO outbox (event_id, topic, headers) VALUES (gen_random_uuid(), 'orders.fraud.dlq', '[]')",
    )
    report = await world.audit()
    assert (report.holds, report.settled, report.on_the_way) == (True, False, 1)


SIDE_MESSAGE = (
    "INSERT INTO outbox (event_id, topic, headers, published_at, kafka_partition, kafka_offset) "
    "VALUES (gen_random_uuid(), '{}', '{}', now(), 0, 5)"
)
REACHED = "INSERT INTO progress VALUES ('{}', '{}', 0, 6, 1, 1, 0, 0)"


@pytest.mark.parametrize(
    ("sender", "topic", "reader"),
    [("fraud", "orders.fraud.dlq", "dead_letters"), ("dead_letters", "orders.fraud.retry", "fraud")],
)
async def test_a_dead_letter_is_on_the_way_until_it_is_filed_and_one_sent_back_until_it_is_received(
    copied: Broken, sender: str, topic: str, reader: str
) -> None:
    world = await copied(sender, reader)
    await world.run(sender, SIDE_MESSAGE.format(topic, "[]"))
    report = await world.audit()
    assert (report.holds, report.settled, report.forwarded) == (True, False, 1)
    await world.run(reader, REACHED.format(reader, topic))
    await world.run(reader, f"UPDATE progress SET applied = 0, repeated = 1 WHERE topic = '{topic}'")
    report = await world.audit()
    assert (report.holds, report.settled, report.forwarded) == (True, True, 0)


async def test_an_effect_of_a_letter_that_was_sent_back_is_not_unfounded(copied: Broken) -> None:
    event_id = "00000000-0000-7000-8000-000000000001"
    world = await copied("fraud", "dead_letters")
    await world.run(
        "fraud", f"INSERT INTO inbox (consumer, event_id, status) VALUES ('fraud', '{event_id}', 'applied')"
    )
    await world.run("fraud", REACHED.format("fraud", "orders.fraud.retry"))
    assert not (await world.audit()).holds
    await world.run("dead_letters", SIDE_MESSAGE.format("orders.fraud.retry", f'[["ce_id", "{event_id}"]]'))
    report = await world.audit()
    assert (report.holds, report.settled) == (True, True)


async def test_a_parked_event_is_neither_lost_nor_does_its_order_break_a_rule(
    copied: Broken, honest: Honest
) -> None:
    world = await copied("fraud")
    event_id = await placed(world, honest)
    await world.run("fraud", f"UPDATE inbox SET status = 'parked' WHERE event_id = '{event_id}'")
    await world.run("fraud", "UPDATE progress SET applied = applied - 1, parked = parked + 1")
    await world.run("fraud", f"DELETE FROM assessments WHERE order_id = '{honest.orders['shipped']}'")
    await world.run("fraud", f"DELETE FROM sightings WHERE order_id = '{honest.orders['shipped']}'")
    report = await world.audit()
    assert (report.holds, of(report, "fraud").parked) == (True, 1)


async def test_garbage_is_shown_as_foreign_and_breaks_nothing(copied: Broken) -> None:
    world = await copied("fraud")
    await world.run(
        "fraud",
        "INSERT INTO parked (consumer, topic, partition, kafka_offset, headers, record_at, failure, error_type, "
        "error_message, attempts, first_failed_at) "
        "VALUES ('fraud', 'orders', 3, 17, '[]', now(), 'permanent', 'Undecodable', 'garbage', 1, now())",
    )
    report = await world.audit()
    assert (report.holds, of(report, "fraud").foreign_parked) == (True, 1)


async def test_a_world_at_work_is_never_accused(copied: Broken, honest: Honest) -> None:
    """Audits as fast as they go while orders are placed, decided and shipped."""
    world = await copied(*honest.names)

    async def live() -> None:
        for _ in range(3):
            await asyncio.gather(world.order(), world.order(card="tok_declined"))
            await world.deliver()

    life, reports = asyncio.create_task(live()), []
    while not life.done():
        reports.append(await world.audit())
    await life
    for report in reports:
        assert (offenders(report), report.lost, report.applied_twice) == ({}, 0, 0)
    assert not all(report.settled for report in reports)
    assert (await world.audit()).settled


async def placed(world: World, honest: Honest) -> str:
    rows = await world.run(
        "orders",
        f"SELECT event_id FROM outbox WHERE aggregate_id = '{honest.orders['shipped']}' AND type = 'OrderPlaced'",
    )
    return str(rows[0][0])
