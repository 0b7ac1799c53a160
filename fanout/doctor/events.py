"""What has come of the events: rows that are not sent, consumers that stand still, dead letters, and what is lost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.console import counted, some
from fanout.databases import Databases, held_partitions, ignored_events, read_each
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.lag.measure import KAFKA, LagMeter
from fanout.lag.services import Outbox, ServiceDatabases
from fanout.lag.topics import TopicLag, by_topic
from fanout.resend import lost

LONG_SECONDS = 30.0
"""A row or message that waits longer than this is worth a look: nothing but trouble makes it wait so long."""


async def outboxes(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    databases = ServiceDatabases(around.addresses.databases)
    try:
        found = [(await databases.facts(service)).outbox for service in around.addresses.databases]
    finally:
        databases.close()
    return unsent(found, around)


def unsent(outboxes: Iterable[Outbox], around: Surroundings) -> list[Finding]:
    found = []
    for each in outboxes:
        if each.set_aside:
            found.append(
                Finding(
                    *(
                        "wrong",
                        "outboxes",
                        f"{each.service}: {counted(each.set_aside, 'row')} cannot be sent",
                    ),
                    "Kafka refused them, and later events of the same orders wait behind them",
                    f"fanout outbox ls {each.service}",
                )
            )
        if each.unsent and (each.oldest_seconds or 0) > LONG_SECONDS:
            found.append(
                Finding(
                    "watch",
                    "outboxes",
                    f"{each.service}: {counted(each.unsent, 'row')} not yet in Kafka",
                    f"the oldest was written {each.oldest_seconds or 0:.0f} s ago; its relay is in the worker, which "
                    "sends them as soon as it runs and reaches Kafka and the registry",
                    around.how_to_start(f"{each.service}-worker"),
                )
            )
    return found or [Finding("ok", "outboxes", "every row is in Kafka, or on its way")]


async def consumers(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    databases, broker = around.addresses.databases, around.addresses.broker
    held = [
        Finding(
            "wrong",
            "consumers",
            sentence,
            "this partition stands still, the others go on",
            "docs/decisions/0020-unreadable-batch-holds-its-partition.md",
        )
        for sentence in await held_partitions(databases)
    ]
    ignored = [
        Finding("watch", "consumers", sentence, "nothing is lost", "start the worker of the newer release")
        for sentence in await ignored_events(databases)
    ]
    async with LagMeter(broker, databases) as meter:
        measured = await meter.measure(with_outside=False)
    if error := measured.errors.get(KAFKA):
        raise error
    late = [lag for each in measured.groups for lag in by_topic(each) if (lag.seconds or 0) > LONG_SECONDS]
    alive = {each.group for each in measured.groups if each.members}
    return [*held, *ignored, *behind(late, alive, around)] or [
        Finding("ok", "consumers", f"no consumer is more than {LONG_SECONDS:.0f} s behind")
    ]


def behind(late: Iterable[TopicLag], alive: set[str], around: Surroundings) -> list[Finding]:
    """`alive`: the groups that have members."""
    found = []
    for lag in late:
        what = f"{lag.group} is {counted(lag.messages, 'message')} and {lag.seconds or 0:.0f} s behind in {lag.topic}"
        if lag.group in alive:
            meaning = "its worker runs: it has more to do than it can, or waits for a server"
            remedy = "docker compose logs" if around.in_container else "fanout logs"
            found.append(Finding("watch", "consumers", what, meaning, f"{remedy} {lag.group}-worker"))
        else:
            meaning = "nobody reads for it; what waits is applied as soon as its worker runs"
            start = around.how_to_start(f"{lag.group}-worker")
            found.append(Finding("watch", "consumers", what, meaning, start))
    return found


async def dead_letters(around: Surroundings) -> list[Finding]:
    if around.addresses is None or lost.STORE not in around.addresses.databases:
        return []

    async def waiting(_: str, db: AsyncConnection) -> Counter[str]:
        return Counter({row.consumer: row.letters for row in await db.execute(_WAITING)})

    [found] = await read_each({lost.STORE: around.addresses.databases[lost.STORE]}, waiting)
    return [parked(found)]


def parked(waiting: Counter[str]) -> Finding:
    """`waiting`: by consumer, dead letters that nobody has decided about."""
    if not waiting.total():
        return Finding("ok", "dead letters", "none waits for a decision")
    by_consumer = ", ".join(f"{consumer} {number}" for consumer, number in sorted(waiting.items()))
    return Finding(
        *(
            "watch",
            "dead letters",
            f"{counted(waiting.total(), 'dead letter')} for you to decide: {by_consumer}",
        ),
        "their orders may wait for them",
        "fanout dlq ls",
    )


@dataclass(frozen=True, slots=True)
class Gone:
    """Topics that were made anew, and partitions of which something was deleted before it was read."""

    topics: Sequence[str]
    unread: int


async def losses(around: Surroundings) -> list[Finding]:
    """Asks the ledger only if something may be lost, because that reads every outbox and every inbox."""
    if around.addresses is None:
        return []
    databases = around.addresses.databases
    gone = await _gone(databases)
    if not (gone.topics or gone.unread or around.deep):
        return [Finding("ok", "losses", "Kafka has lost no topic, and nothing that was not read yet")]
    rows = sum(map(len, (await lost.rows(databases)).values()))
    return [resend(rows, gone)]


def resend(rows: int, gone: Gone) -> Finding:
    why = f"made anew: {some(gone.topics, 5)}" if gone.topics else "deleted before it was read"
    if not rows:
        return Finding("ok", "losses", f"Kafka has lost data ({why}), and nobody lacks anything of it")
    return Finding(
        "wrong",
        "losses",
        f"Kafka has lost {counted(rows, 'message')} that consumers still need ({why})",
        "the outboxes have them, and consumers ignore what they have applied",
        "fanout resend --lost",
    )


async def _gone(databases: Databases) -> Gone:
    async def of_one(_: str, db: AsyncConnection) -> tuple[set[tuple[str, str]], int]:
        ids = {(row.topic, str(row.topic_id)) for row in await db.execute(_TOPIC_IDS)}
        return ids, await db.scalar(_UNREAD) or 0

    found = await read_each(databases, of_one)
    ids = Counter(topic for topic, _ in set().union(*(ids for ids, _ in found)))
    return Gone(
        sorted(topic for topic, number in ids.items() if number > 1), sum(unread for _, unread in found)
    )


_WAITING = text("SELECT consumer, count(*) AS letters FROM dead_letters WHERE status = 'parked' GROUP BY 1")
_TOPIC_IDS = text("SELECT topic, topic_id FROM topic_ids")
_UNREAD = text("SELECT count(*) FROM consumer_offsets WHERE lost > 0")
