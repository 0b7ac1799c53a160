"""The ledger and the independent judge say the same of an honest system and of one in which something was changed.

That the ledger sees the changes of the first two tables is tested beside it: test_ledger.py, test_ledger_contents.py.
"""

from datetime import UTC, datetime

import pytest

from tests.integration.conftest import Broken
from tests.judge.__main__ import Judgement, judge
from tests.judge.evidence import TOPICS, Evidence, Fact, Log
from tests.judge.reading import read_databases
from tests.support.corruptions import CORRUPTIONS
from tests.support.planted_contents import PLANTED
from tests.support.simulated_system import Honest, SimulatedSystem, placed, url_of

NEITHER_DELIVERY_NOR_CONSERVATION = {
    "every consumer that has read a topic of events subscribes to some",
    "every received event is of a type that its consumer subscribes to",
    "dead_letters: each redriven or discarded dead letter has an action that says by whom and why",
    "dead_letters: no dead letter was redriven after it was discarded",
    "fraud: each version of an assessment was published once",
}

CONSERVED = [
    "a notification deleted",
    "all notifications deleted",
    "messages.customer_id of shipped",
    "payment and movement both changed to 1 cent",
    "payments.amount_cents of unpaid",
    "payments.status of declined",
    "payments.customer_id of shipped",
    "a movement deleted",
    "movements.kind of shipped",
    "a reservation's quantity + 1 with stock - 1",
    "on hand and initial both - 1",
    "a released reservation deleted",
    "a shipment deleted",
    "a shipment's contents changed",
    "shipments.customer_id of shipped",
    "orders.customer_id of shipped",
    "orders.fraud_score of shipped",
    "orders.flagged of shipped",
    "line price and total both 0",
    "a line added that costs nothing",
    "an order deleted",
    "assessments.score of shipped",
    "all steps deleted",
    "a step invented",
    "order_lines.units of shipped",
    "a sale doubled under another id",
    "sales.revenue_cents of shipped",
]
DELIVERY = {
    "a receipt deleted": ("fraud", "DELETE FROM inbox WHERE event_id = '{event_id}'"),
    "all receipts deleted": ("fraud", "DELETE FROM inbox"),
    "a receipt of another event": (
        "fraud",
        "UPDATE inbox SET event_id = gen_random_uuid() WHERE event_id = '{event_id}'",
    ),
    "a receipt of an event that nobody published": (
        "fraud",
        "INSERT INTO inbox (consumer, event_id, status) "
        "VALUES ('fraud', '00000000-0000-7000-8000-000000000001', 'applied')",
    ),
    "one event applied twice": (
        "inventory",
        "UPDATE consumer_offsets SET applied = applied + 1, received = received + 1 WHERE topic = 'orders'",
    ),
    "a receipt without an application": (
        "inventory",
        "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1 WHERE topic = 'orders'",
    ),
    "an event deleted from its outbox": ("orders", "DELETE FROM outbox WHERE event_id = '{event_id}'"),
    "an offset moved by 100,000": (
        "orders",
        "UPDATE outbox SET kafka_offset = kafka_offset + 100000 WHERE event_id = '{event_id}'",
    ),
    "a fact published under two ids": (
        "payments",
        "INSERT INTO outbox "
        "(event_id, topic, type, aggregate_id, aggregate_version, key, payload, schema_version, headers) "
        "SELECT gen_random_uuid(), topic, type, aggregate_id, 9, key, payload, schema_version, headers "
        "FROM outbox WHERE type = 'PaymentProcessed' LIMIT 1",
    ),
}


async def test_both_say_that_an_honest_system_holds(copied: Broken) -> None:
    simulated = await copied()
    assert (await simulated.audit()).verdict == "holds"
    assert (await judged(simulated, await log_of(simulated))).verdict == "holds"


@pytest.mark.parametrize("sentence", sorted(CORRUPTIONS.keys() - NEITHER_DELIVERY_NOR_CONSERVATION))
async def test_the_judge_sees_what_breaks_a_check_of_the_ledger(
    copied: Broken, honest: Honest, sentence: str
) -> None:
    corruption = CORRUPTIONS[sentence]
    log = await log_of(await copied())
    simulated = await copied(corruption.service)
    await simulated.run(corruption.service, corruption.sql.format(**honest.orders))
    assert (await judged(simulated, log)).verdict == "broken"
    assert (await simulated.audit()).verdict == "broken"


async def judged(simulated: SimulatedSystem, log: Log) -> Judgement:
    urls = {service: url_of(database) for service, database in simulated.databases.items()}
    tables = await read_databases(urls)
    return judge(Evidence(log, tables, tables))


async def log_of(simulated: SimulatedSystem) -> Log:
    """Returns what Kafka would have of a system in which everything was sent, and every group at its end."""
    urls = {service: url_of(database) for service, database in simulated.databases.items()}
    tables = await read_databases(urls)
    facts = [
        Fact(row["event_id"], row["topic"], row["type"], row["aggregate_id"], None, 0, row["kafka_offset"])
        for service in TOPICS.values()
        for row in tables[service]["outbox"]
    ]
    ends = {topic: max(fact.offset or 0 for fact in facts if fact.topic == topic) + 1 for topic in TOPICS}
    committed = {(service, topic, 0): end for service in urls for topic, end in ends.items()}
    return Log(datetime.now(UTC), facts, {(topic, 0): (0, end) for topic, end in ends.items()}, committed)


@pytest.mark.parametrize("name", CONSERVED)
async def test_the_judge_sees_what_appears_vanishes_or_goes_to_somebody_else(
    copied: Broken, honest: Honest, name: str
) -> None:
    planted = next(each for each in PLANTED if each.name == name)
    log = await log_of(await copied())
    simulated = await copied(planted.service)
    await simulated.run(planted.service, planted.sql.format(**honest.orders))
    assert (await judged(simulated, log)).verdict == "broken"


@pytest.mark.parametrize("name", DELIVERY)
async def test_both_see_what_was_not_delivered_or_delivered_twice(
    copied: Broken, honest: Honest, name: str
) -> None:
    service, sql = DELIVERY[name]
    log = await log_of(await copied())
    simulated = await copied(service)
    event_id = await placed(simulated, honest.orders["shipped"])
    await simulated.run(service, sql.format(event_id=event_id))
    assert (await judged(simulated, log)).verdict == "broken"
    assert (await simulated.audit()).verdict == "broken"
