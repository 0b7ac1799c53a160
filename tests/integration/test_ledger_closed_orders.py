"""After retention has deleted what is over, the ledger accuses nobody and finds what is wrong with the rest."""

import asyncio
from datetime import timedelta

from chassis.retention import CLOCKS_DIFFER, PARKED, REPETITIONS, purge
from chassis.service import load
from chassis.timestamps import now
from tests.integration.conftest import Broken
from tests.support.simulated_system import HOLDS, SERVICES, Honest, SimulatedSystem


async def purge_everything_closed(simulated: SimulatedSystem) -> dict[str, int]:
    """Purges as if 40 days had passed; returns the deleted rows by table, when no new order can be as old."""
    await simulated.run("notifications", "UPDATE messages SET sent_at = now(), attempts = 1")
    cutoff, purged = now() + timedelta(milliseconds=1), dict[str, int]()
    for service in SERVICES:
        for retentions in (REPETITIONS, load(service).retention, PARKED):
            for table, rows in (
                await purge(simulated.databases[service], cutoff, asyncio.Event(), retentions)
            ).items():
                purged[table] = purged.get(table, 0) + rows
    async with asyncio.timeout(5):
        while now() <= cutoff + CLOCKS_DIFFER:
            await asyncio.sleep(0.02)
    return purged


async def test_after_everything_closed_was_deleted_the_ledger_holds(copied: Broken, honest: Honest) -> None:
    simulated = await copied(*SERVICES)
    purged = await purge_everything_closed(simulated)
    assert purged.keys() >= {
        "shipments",
        "messages",
        "steps",
        "sales",
        "orders_seen",
        "assessments",
        "reservations",
    }
    report = await simulated.audit()
    assert [verdict for verdict in report.verdicts if verdict.offenders] == []
    assert report.conclusion == HOLDS
    left = await simulated.run("fulfillment", "SELECT order_id FROM shipments")
    assert [row.order_id for row in left] == [honest.orders["unpaid"]]


async def test_orders_placed_after_the_purge_are_judged_as_before(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await purge_everything_closed(simulated)
    order = await simulated.order()
    await simulated.deliver()
    assert (await simulated.audit()).conclusion == HOLDS
    await simulated.run("fraud", f"DELETE FROM assessments WHERE order_id = '{order}'")
    await simulated.run("fraud", f"DELETE FROM orders_seen WHERE order_id = '{order}'")
    report = await simulated.audit()
    assert report.verdict == "broken"
    assert order in {offender for verdict in report.verdicts for offender in verdict.offenders}


async def test_an_invoice_that_was_open_while_others_were_deleted_is_paid_and_shipped(
    copied: Broken, honest: Honest
) -> None:
    simulated, order = await copied(*SERVICES), honest.orders["unpaid"]
    await purge_everything_closed(simulated)
    await simulated.pay(order)
    await simulated.deliver()
    report = await simulated.audit()
    assert report.conclusion == HOLDS
    for service, table in (("fulfillment", "shipments"), ("analytics", "sales")):
        assert await simulated.run(service, f"SELECT 1 FROM {table} WHERE order_id = '{order}'")


async def test_a_purge_while_the_ledger_reads_makes_it_accuse_nobody(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    purging = asyncio.create_task(purge_everything_closed(simulated))
    verdicts = []
    while not purging.done():
        verdicts.append((await simulated.audit()).conclusion)
    assert await purging
    assert set(verdicts) == {HOLDS}
