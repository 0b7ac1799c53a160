"""The ledger and the independent judge say the same of an honest system and of one in which something was changed."""

from datetime import UTC, datetime

import pytest

from tests.integration.conftest import Broken
from tests.judge.__main__ import Judgement, judge
from tests.judge.evidence import TOPICS, Evidence, Fact, Log
from tests.judge.reading import read_databases
from tests.support.corruptions import CORRUPTIONS
from tests.support.simulated_system import Honest, SimulatedSystem, url_of

NEITHER_DELIVERY_NOR_CONSERVATION = {
    "dead_letters: each redriven or discarded dead letter has an action that says by whom and why",
    "dead_letters: no dead letter was redriven after it was discarded",
    "fraud: each version of an assessment was published once",
}


async def test_both_say_that_an_honest_system_holds(copied: Broken) -> None:
    simulated = await copied()
    assert (await simulated.audit()).verdict == "holds"
    assert (await judged(simulated, await log_of(simulated))).verdict == "holds"


@pytest.mark.parametrize("sentence", sorted(CORRUPTIONS.keys() - NEITHER_DELIVERY_NOR_CONSERVATION))
async def test_both_see_what_is_broken(copied: Broken, honest: Honest, sentence: str) -> None:
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
