"""Judges delivery: every fact is with each of its listeners once, and nothing is anywhere that no fact explains."""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tests.judge.evidence import LISTENERS, TOPICS, Evidence, Fact, Findings, Row

GRACE = timedelta(seconds=30)
SEVERAL_OF_AN_ORDER = {"FraudAssessed"}


def judge_delivery(evidence: Evidence) -> Findings:
    findings = Findings()
    facts = {fact.event_id: fact for fact in evidence.log.facts}
    outboxes = _outboxes(evidence)
    receipts = _receipts(evidence)
    known = outboxes | {
        event_id: fact._replace(version=outboxes[event_id].version if event_id in outboxes else None)
        for event_id, fact in facts.items()
    }
    _judge_deliveries(known, receipts, evidence, findings)
    _judge_the_log(facts, outboxes, evidence, findings)
    findings.wrong += _unexplained(outboxes.keys(), receipts, evidence)
    findings.wrong += _repeated(known)
    findings.wrong += _miscounted(receipts, evidence)
    _judge_dead_letters(receipts, evidence, findings)
    return findings


def _outboxes(evidence: Evidence) -> dict[UUID, Fact]:
    """Returns the facts of all outboxes. A discarded row is none: an operator decided that nobody gets it."""
    return {
        row["event_id"]: Fact(
            row["event_id"],
            row["topic"],
            row["type"],
            row["aggregate_id"],
            row["aggregate_version"],
            row["kafka_partition"],
            row["kafka_offset"],
            row["published_at"],
        )
        for service in TOPICS.values()
        for row in evidence.rows(service, "outbox")
        if row["aggregate_id"] is not None and row["discarded_at"] is None
    }


Receipts = Mapping[str, Mapping[UUID, str]]
"""Consumer -> event id -> `applied` or `parked`."""


def _receipts(evidence: Evidence) -> Receipts:
    return {
        consumer: {row["event_id"]: row["status"] for row in tables["inbox"] if row["consumer"] == consumer}
        for consumer, tables in evidence.before.items()
    }


def _judge_deliveries(
    facts: Mapping[UUID, Fact], receipts: Receipts, evidence: Evidence, findings: Findings
) -> None:
    """A delivery is missing for good if its group's offset in Kafka is behind it, or the record is deleted."""
    logged = {fact.event_id for fact in evidence.log.facts}
    for fact in facts.values():
        for consumer in LISTENERS.get(fact.type, ()):
            status = receipts[consumer].get(fact.event_id)
            if status == "applied" or _is_purged(fact.event_id, consumer, evidence):
                continue
            findings.open_orders.add(fact.order_id)
            if status == "parked":
                continue
            what = f"{consumer} has no receipt of {fact.type} of {fact.order_id}"
            if _is_gone(fact, consumer, logged, evidence):
                findings.wrong.append(what)
            else:
                findings.waiting.append(what)


def _is_gone(fact: Fact, consumer: str, logged: Set[UUID], evidence: Evidence) -> bool:
    """`logged`: ids of all facts in Kafka. One that was sent and is not there was in a topic that was deleted."""
    if fact.partition is None or fact.offset is None:
        return False
    place = fact.topic, fact.partition
    start, end = evidence.log.spans.get(place, (0, 0))
    passed = evidence.log.committed.get((consumer, *place), 0) > fact.offset
    return passed or fact.offset < start or (fact.offset < end and fact.event_id not in logged)


def _judge_the_log(
    facts: Mapping[UUID, Fact], outboxes: Mapping[UUID, Fact], evidence: Evidence, findings: Findings
) -> None:
    """What an outbox calls sent is in Kafka at that place; what is in Kafka and concerns nobody is in an outbox.

    What concerns somebody and is in no outbox may be poison, which is parked; it is wrong if it was applied.
    """
    places = {(fact.topic, fact.partition, fact.offset): fact.event_id for fact in facts.values()}
    for event_id, row in outboxes.items():
        if row.offset is None and row.sent_at is not None and row.sent_at < evidence.log.at - GRACE:
            findings.wrong.append(f"{row.type} of {row.order_id} was sent to no offset")
        if row.offset is None or row.partition is None or event_id not in facts:
            continue
        _, end = evidence.log.spans.get((row.topic, row.partition), (0, 0))
        is_beyond = row.offset >= end and row.sent_at is not None and row.sent_at < evidence.log.at
        if is_beyond or places.get((row.topic, row.partition, row.offset), event_id) != event_id:
            findings.wrong.append(f"{row.type} of {row.order_id} is not where its outbox says")
    for event_id in facts.keys() - outboxes.keys():
        fact = facts[event_id]
        if not LISTENERS[fact.type] and not _is_purged(event_id, TOPICS[fact.topic], evidence, "outbox"):
            findings.wrong.append(f"no outbox has {fact.type} of {fact.order_id}")


def _unexplained(known: Set[UUID], receipts: Receipts, evidence: Evidence) -> Iterator[str]:
    for consumer, statuses in receipts.items():
        for event_id in statuses.keys() - known:
            if statuses[event_id] == "applied" and not _is_purged_anywhere(event_id, evidence):
                yield f"{consumer} has applied {event_id}, which nobody published"


def _repeated(facts: Mapping[UUID, Fact]) -> Iterator[str]:
    once = Counter(
        (fact.type, fact.order_id) for fact in facts.values() if fact.type not in SEVERAL_OF_AN_ORDER
    )
    versions = Counter((fact.topic, fact.order_id, fact.version) for fact in facts.values() if fact.version)
    for (event_type, order_id), times in once.items():
        if times > 1:
            yield f"there are {times} {event_type} of {order_id}"
    for (topic, order_id, version), times in versions.items():
        if times > 1:
            yield f"there are {times} facts of version {version} of {order_id} in {topic}"


def _miscounted(receipts: Receipts, evidence: Evidence) -> Iterator[str]:
    """Handlers were called with as many events as there are receipts."""
    for consumer, statuses in receipts.items():
        rows = evidence.before[consumer]["consumer_offsets"]
        calls = sum(row["applied"] for row in rows if row["consumer"] == consumer)
        purged = sum(row["purged"] for row in evidence.before[consumer]["purges"] if row["what"] == "inbox")
        applied = sum(status == "applied" for status in statuses.values()) + purged
        if rows and consumer != "dead_letters" and calls != applied:
            yield f"{consumer} called its handlers with {calls} events and has {applied} receipts"


def _judge_dead_letters(receipts: Receipts, evidence: Evidence, findings: Findings) -> None:
    """Every parked event and every record of a dead-letter topic is stored as a dead letter."""
    stored = {
        (row["consumer"], row["topic"], row["partition"], row["kafka_offset"])
        for row in evidence.rows("dead_letters", "dead_letters")
    }
    closed = any(row["what"] == "dead_letters" for row in evidence.rows("dead_letters", "purges"))
    sent = set(evidence.log.dead_letters)
    if not closed:
        for consumer, topic, partition, offset in sorted(sent - stored):
            findings.waiting.append(
                f"the dead letter of {consumer} about {topic}[{partition}]@{offset} is not stored"
            )
    ids = {row["event_id"] for row in evidence.rows("dead_letters", "dead_letters")}
    for consumer, statuses in receipts.items():
        unsent = any(_is_on_its_way(row, evidence) for row in evidence.before[consumer]["outbox"])
        for event_id, status in statuses.items():
            if status == "parked" and event_id not in ids and not (unsent or sent - stored or closed):
                findings.wrong.append(f"{consumer} has parked {event_id} and there is no dead letter of it")
    waiting = [row for row in evidence.rows("dead_letters", "dead_letters") if row["status"] == "parked"]
    findings.waiting += [f"a dead letter of {row['consumer']} waits for a decision" for row in waiting]


def _is_on_its_way(row: Row, evidence: Evidence) -> bool:
    """Returns True for a dead letter that was not in Kafka when the judge read it."""
    _, end = evidence.log.spans.get((row["topic"], row["kafka_partition"]), (0, 0))
    return row["topic"].endswith(".dlq") and (row["kafka_offset"] is None or row["kafka_offset"] >= end)


def _is_purged(event_id: UUID, service: str, evidence: Evidence, table: str = "inbox") -> bool:
    """Returns True if a row about the event may have been deleted at its age, which only a UUIDv7 says."""
    if event_id.version != 7:
        return False
    made = datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
    return any(row["what"] == table and made < row["before"] for row in evidence.rows(service, "purges"))


def _is_purged_anywhere(event_id: UUID, evidence: Evidence) -> bool:
    return any(_is_purged(event_id, service, evidence, "outbox") for service in TOPICS.values())
