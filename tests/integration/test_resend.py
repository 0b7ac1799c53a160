"""`fanout resend` on real databases: what is sent again, what is left alone, and what is kept about it."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from fanout.cli import _app
from fanout.commands import resend as resend_command
from fanout.errors import BadUsage
from fanout.resend import sending
from tests.integration.conftest import Broken
from tests.support.simulated_system import Honest, SimulatedSystem, url_of

UNSENT = "SELECT id FROM outbox WHERE published_at IS NULL ORDER BY id"
PLACED = "SELECT count(*) FROM outbox WHERE topic = 'orders'"


@pytest.fixture
async def simulated(copied: Broken, monkeypatch: pytest.MonkeyPatch) -> SimulatedSystem:
    simulated = await copied("orders", "fraud", "dead_letters")
    databases = {name: url_of(database) for name, database in simulated.databases.items()}
    monkeypatch.setattr(resend_command, "running", lambda: SimpleNamespace(databases=databases))
    return simulated


async def resend(*arguments: str) -> Result:
    return await asyncio.to_thread(lambda: CliRunner().invoke(_app(["resend"]), ["resend", *arguments]))


async def test_the_rows_of_a_topic_are_sent_again_in_chunks_and_who_did_it_is_kept(
    simulated: SimulatedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ROWS_AT_ONCE", 2)
    [[count]] = await simulated.run("orders", PLACED)
    done = await resend("--topic", "orders", "--since", "1h", "--yes", "--by", "ann", "--why", "a lost disk")
    assert done.exit_code == 0 and f"handed to the relays: {count} rows" in done.stdout, done.output
    assert len(await simulated.run("orders", UNSENT)) == count
    assert not await simulated.run("payments", UNSENT)
    placed = "num_nonnulls(kafka_offset, kafka_partition, topic_id) > 0"
    assert not await simulated.run("orders", f"SELECT 1 FROM outbox WHERE published_at IS NULL AND {placed}")
    [entry] = json.loads((await resend("--history", "--json")).stdout)
    assert (entry["service"], entry["who"], entry["why"], entry["rows"]) == (
        *("orders", "ann", "a lost disk"),
        count,
    )
    assert entry["what"].startswith("orders since 20")
    again = await resend("--topic", "orders", "--since", "1h", "--yes")
    assert (again.exit_code, again.stdout) == (0, "nothing to send again\n")


async def test_a_dry_run_prints_what_would_be_sent_and_changes_nothing(simulated: SimulatedSystem) -> None:
    [[count]] = await simulated.run("orders", PLACED)
    said = json.loads((await resend("--topic", "orders", "--since", "1h", "--dry-run", "--json")).stdout)
    assert (said["rows"], said["sent"]) == (count, 0)
    assert sum(group["rows"] for group in said["groups"]) == count
    assert {group["type"] for group in said["groups"]} == {"OrderPlaced", "OrderConfirmed", "OrderCancelled"}
    refusal = (await resend("--topic", "orders", "--since", "1h")).exception
    assert isinstance(refusal, BadUsage) and "nothing was changed: --yes sends" in str(refusal)
    assert not await simulated.run("orders", UNSENT)
    assert json.loads((await resend("--history", "--json")).stdout) == []


async def test_rows_that_an_operator_decides_about_are_left_alone(simulated: SimulatedSystem) -> None:
    [[count]] = await simulated.run("orders", PLACED)
    await simulated.run(
        "orders",
        "UPDATE outbox SET published_at = NULL, set_aside_at = now() WHERE id = (SELECT min(id) FROM outbox);"
        "UPDATE outbox SET set_aside_at = now(), discarded_at = now() WHERE id = (SELECT max(id) FROM outbox)",
    )
    said = json.loads((await resend("--topic", "orders", "--since", "1h", "--yes", "--json")).stdout)
    assert said["sent"] == count - 2


async def test_events_whose_receipts_were_deleted_are_left_out(simulated: SimulatedSystem) -> None:
    [[count]] = await simulated.run("orders", PLACED)
    await simulated.run(
        "fraud", "INSERT INTO purges (what, before, purged) VALUES ('inbox', now() - interval '1 day', 9)"
    )
    await simulated.run(
        "orders",
        "UPDATE outbox SET created_at = now() - interval '2 days' WHERE id = (SELECT min(id) FROM outbox)",
    )
    done = await resend("--topic", "orders", "--since", "1h", "--yes")
    assert "1 row older than the receipts that consumers keep: left out" in done.stdout
    assert len(await simulated.run("orders", UNSENT)) == count - 1


async def test_events_whose_receipts_a_stopped_worker_may_delete_before_it_reads_them_are_left_out(
    simulated: SimulatedSystem,
) -> None:
    [[count]] = await simulated.run("orders", PLACED)
    await simulated.run(
        "orders",
        "UPDATE outbox SET created_at = now() - interval '8 days 1 minute' WHERE id = (SELECT min(id) FROM outbox);"
        "UPDATE outbox SET created_at = now() - interval '7 days' WHERE id = (SELECT max(id) FROM outbox)",
    )
    done = await resend("--topic", "orders", "--since", "1h", "--yes")
    assert "1 row older than the receipts that consumers keep: left out" in done.stdout
    assert len(await simulated.run("orders", UNSENT)) == count - 1


async def test_only_what_is_lost_is_sent_again(simulated: SimulatedSystem, honest: Honest) -> None:
    none = await resend("--lost", "--yes")
    assert (none.exit_code, none.stdout) == (0, "nothing to send again\n"), none.output
    await simulated.run(
        "fraud",
        "DELETE FROM inbox WHERE event_id = (SELECT event_id FROM inbox ORDER BY event_id LIMIT 1)",
    )
    said = json.loads((await resend("--lost", "--yes", "--json")).stdout)
    assert (said["sent"], [group["type"] for group in said["groups"]]) == (1, ["OrderPlaced"])


DEAD_LETTER = """
    INSERT INTO outbox (event_id, topic, headers, published_at, kafka_partition, kafka_offset, topic_id)
    VALUES (gen_random_uuid(), 'orders.fraud.dlq', '{headers}', now(), 0, {offset}, '{topic_id}')
"""
HEADERS = {
    "dlq_topic": "orders",
    "dlq_partition": "0",
    "dlq_kafka_offset": "7",
    "dlq_record_at": "2026-03-01T12:00:00+00:00",
    "dlq_attempts": "1",
    "dlq_first_failed_at": "2026-03-01T12:00:00+00:00",
    "dlq_redrive": "0",
    "dlq_consumer": "fraud",
}
STORED = """
    INSERT INTO dead_letters (consumer, topic, partition, kafka_offset, record_at, headers, failure,
        error_type, error_message, attempts, first_failed_at, last_failed_at, status, redrive)
    VALUES ('fraud', 'orders', 0, 7, '2026-03-01T12:00:00Z', '[]', 'permanent', 'E', 'e', 1, now(), now(), 'parked', 0)
"""
OLD, NEW = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


async def test_a_dead_letter_that_went_with_its_topic_is_sent_again_unless_it_is_stored(
    simulated: SimulatedSystem,
) -> None:
    headers = json.dumps(list(HEADERS.items()))
    await simulated.run("fraud", DEAD_LETTER.format(headers=headers, offset=0, topic_id=OLD))
    seen = "INSERT INTO topic_ids VALUES ('orders.fraud.dlq', '{}', now() - interval '{} s')"
    await simulated.run("fraud", seen.format(OLD, 60))
    assert (await resend("--lost", "--dry-run")).stdout == "nothing to send again\n", "it may be in flight"
    await simulated.run("dead_letters", seen.format(NEW, 1))
    said = json.loads((await resend("--lost", "--dry-run", "--json")).stdout)
    assert [(group["topic"], group["rows"]) for group in said["groups"]] == [("orders.fraud.dlq", 1)]
    await simulated.run("dead_letters", STORED)
    assert (await resend("--lost", "--dry-run")).stdout == "nothing to send again\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "what is to be sent again? --lost, or --topic TOPIC --since TIME"),
        (("--topic", "orders"), "what is to be sent again?"),
        (("--lost", "--topic", "orders"), "what is to be sent again?"),
        (
            ("--topic", "ordres", "--since", "1h"),
            "no outbox has a row for a topic ordres, did you mean orders",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused(
    simulated: SimulatedSystem, arguments: tuple[str, ...], sentence: str
) -> None:
    refusal = (await resend(*arguments)).exception
    assert isinstance(refusal, BadUsage) and sentence in str(refusal)
