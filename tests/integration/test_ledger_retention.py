"""The ledger after old rows were deleted: it accuses no consumer, and still finds what is wrong with the rest."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from chassis.retention import CLOCKS_DIFFER, purge
from chassis.service import load
from chassis.timestamps import now
from fanout.replay.state import clear
from fanout.verify.report import Report
from tests.integration.conftest import Broken
from tests.support.simulated_system import HOLDS, SERVICES, Honest, SimulatedSystem, placed


async def cleaned_up(
    simulated: SimulatedSystem, tables: Iterable[str] = ("inbox", "outbox"), of: Iterable[str] = SERVICES
) -> None:
    """Everything there is until now; returns when what comes next is young enough to be told from it."""
    before, purged = now(), 0
    for service in of:
        if "outbox" not in tables:
            await simulated.run(service, "UPDATE outbox SET published_at = published_at + interval '1 day'")
        if "inbox" not in tables:
            await simulated.run(service, "UPDATE inbox SET received_at = received_at + interval '1 day'")
        purged += sum((await purge(simulated.databases[service], before, asyncio.Event())).values())
    assert purged
    await until_past(before + CLOCKS_DIFFER)


def offended(report: Report) -> list[str]:
    return [verdict.sentence for verdict in report.verdicts if verdict.offenders]


async def until_past(timestamp: datetime) -> None:
    async with asyncio.timeout(5):
        while now() <= timestamp:
            await asyncio.sleep(0.02)


async def test_after_a_purge_of_everything_nothing_is_lost_or_doubled(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    report = await simulated.audit()
    assert (report.verdict, report.settled, report.conclusion) == ("holds", True, HOLDS)
    assert all(account.published == 0 and account.since for account in report.accounts)


@pytest.mark.parametrize("tables", [["inbox"], ["outbox"]], ids=str)
@pytest.mark.parametrize("services", [SERVICES, ["orders"], ["fraud"]], ids=str)
async def test_wherever_rows_are_gone_first_no_consumer_is_accused(
    copied: Broken, tables: list[str], services: list[str]
) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated, tables, services)
    report = await simulated.audit()
    assert offended(report) == []
    assert report.conclusion == HOLDS


async def test_what_came_after_a_purge_is_counted(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    await simulated.order()
    assert (await simulated.audit()).in_flight == 6
    await simulated.deliver()
    report = await simulated.audit()
    assert (report.verdict, report.settled) == ("holds", True)
    assert all(account.published == account.applied > 0 for account in report.accounts)


async def test_a_loss_after_a_purge_is_found(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    order = await simulated.order()
    await simulated.deliver()
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{await placed(simulated, order)}'")
    await simulated.run(
        "fraud", "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1"
    )
    report = await simulated.audit()
    assert report.conclusion == "broken: lost 1, applied twice 0; 2 checks violated"


async def test_a_receipt_deleted_by_hand_is_no_purge(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    order = await simulated.order()
    await simulated.deliver()
    await simulated.run("fraud", f"DELETE FROM inbox WHERE event_id = '{await placed(simulated, order)}'")
    assert (await simulated.audit()).verdict == "broken"


async def test_an_event_that_is_applied_again_after_its_receipt_was_purged_is_found(
    copied: Broken,
) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    await simulated.run(
        "inventory", "UPDATE consumer_offsets SET applied = applied + 1, received = received + 1"
    )
    report = await simulated.audit()
    assert (report.verdict, report.applied_twice) == ("broken", 1)


async def test_an_effect_of_nothing_after_a_purge_is_found(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    await cleaned_up(simulated)
    order = await simulated.order()
    await simulated.deliver()
    event_id = await placed(simulated, order)
    await simulated.run("orders", f"DELETE FROM outbox WHERE event_id = '{event_id}'")
    named = [offender for verdict in (await simulated.audit()).verdicts for offender in verdict.offenders]
    assert f"{event_id} (fraud)" in named


async def test_an_event_parked_long_ago_still_excuses_its_order(copied: Broken, honest: Honest) -> None:
    simulated, order = await copied(*SERVICES), honest.orders["shipped"]
    event_id = await placed(simulated, order)
    await simulated.run("fraud", f"UPDATE inbox SET status = 'parked' WHERE event_id = '{event_id}'")
    await simulated.run("fraud", "UPDATE consumer_offsets SET applied = applied - 1, parked = parked + 1")
    await simulated.run(
        "fraud",
        "INSERT INTO parked (consumer, topic, partition, kafka_offset, event_id, key, headers, record_at, failure, "
        f"error_type, error_message, attempts, first_failed_at) VALUES ('fraud', 'orders', 0, 0, '{event_id}', "
        f"'{order}', '[]', now(), 'permanent', 'Bug', 'a bug', 1, now())",
    )
    await simulated.run("fraud", f"DELETE FROM assessments WHERE order_id = '{order}'")
    await simulated.run("fraud", f"DELETE FROM orders_seen WHERE order_id = '{order}'")
    await cleaned_up(simulated)
    report = await simulated.audit()
    assert offended(report) == []
    assert [account.unknown_producer_parked for account in report.accounts] == [0] * len(report.accounts)


async def test_a_read_model_rebuilt_from_a_later_time_lacks_nothing_from_before(copied: Broken) -> None:
    simulated = await copied(*SERVICES)
    async with simulated.databases["analytics"].engine.connect() as db:
        since = now() - timedelta(milliseconds=1)
        await clear(db, load("analytics"), since)
        for topic, end in simulated.offsets.items():
            await db.execute(
                text("INSERT INTO consumer_offsets VALUES ('analytics', :topic, 0, :end, 0, 0, 0, 0)"),
                {"topic": topic, "end": end},
            )
        await db.commit()
    report = await simulated.audit()
    assert (report.lost, report.applied_twice) == (0, 0)
    assert offended(report) == []
    await until_past(since + CLOCKS_DIFFER)
    await simulated.order()
    await simulated.deliver()
    report = await simulated.audit()
    assert (report.verdict, report.settled) == ("holds", True)
    [analytics] = [account for account in report.accounts if account.consumer == "analytics"]
    assert analytics.published == analytics.applied > 0
