"""Measures the lag of all groups at once, and remembers it for trends. Clients stay open between measurements."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from chassis.config import Broker
from chassis.events.topics import dead_letter_topic, event_topic, redrive_topic
from fanout.databases import Databases
from fanout.errors import FanoutError, Unreachable
from fanout.lag.kafka import KafkaClients, KafkaFacts
from fanout.lag.partitions import PartitionLag, gaps, is_rewound, lag
from fanout.lag.services import ServiceDatabases, ServiceFacts
from fanout.lag.verdicts import GroupLag, History, judge

KAFKA = "kafka"
DEAD_LETTER_STORE = "dead_letters"
"""Names the service that reads the dead-letter topics of all other services."""

Pair = tuple[str, str]
"""Group and topic."""


@dataclass(frozen=True)
class Measurement:
    """What could be measured. `errors` says by source, `kafka` or a service, why the rest could not."""

    groups: Sequence[GroupLag] = ()
    services: Sequence[ServiceFacts] = ()
    kafka: KafkaFacts | None = None
    errors: Mapping[str, FanoutError] = field(default_factory=dict)


class LagMeter:
    """Measures again and again; a trend begins with the second measurement."""

    def __init__(self, broker: Broker, databases: Databases, count_up_to: int | None = None) -> None:
        self.databases = ServiceDatabases(databases)
        self._services = list(databases)
        self._kafka = KafkaClients(broker)
        self._broker = broker
        self._count_up_to = count_up_to
        self._listening: dict[str, frozenset[Pair]] = {}
        self._histories: defaultdict[str, History] = defaultdict(History)

    async def __aenter__(self) -> "LagMeter":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.databases.close()
        self._kafka.close()

    async def measure(self, with_outside: bool = True) -> Measurement:
        """Raises nothing that a server's absence causes: that is in the measurement's `errors`.

        A group whose database does not answer is measured by the offsets that it has committed to Kafka.
        """
        answers = await asyncio.gather(*(self._facts(each) for each in self._services))
        facts = {each.service: each for each in answers if isinstance(each, ServiceFacts)}
        errors = {
            service: answer
            for service, answer in zip(self._services, answers, strict=True)
            if isinstance(answer, FanoutError)
        }
        self._listening |= {service: each.listening for service, each in facts.items()}
        pairs = all_pairs({pair for each in self._listening.values() for pair in each}, self._services)
        try:
            kafka, groups = await asyncio.to_thread(self.measure_kafka, pairs, facts, with_outside)
        except Unreachable as error:
            self._histories.clear()
            return Measurement(services=list(facts.values()), errors=errors | {KAFKA: error})
        return Measurement(groups, list(facts.values()), kafka, errors)

    async def _facts(self, service: str) -> ServiceFacts | FanoutError:
        try:
            return await self.databases.facts(service, self._count_up_to)
        except FanoutError as error:
            return error

    def measure_kafka(
        self, pairs: set[Pair], services: Mapping[str, ServiceFacts], with_outside: bool
    ) -> tuple[KafkaFacts, list[GroupLag]]:
        """Measures these pairs of group and topic, and groups of no service. Raises Unreachable."""
        others = self._kafka.outside_groups(self._services) if with_outside else set()
        kafka = self._kafka.facts(pairs | others)
        again = {
            name for name, each in services.items() if each.is_replaying or is_rewound(name, kafka, each)
        }
        found = [
            gap
            for group, topic in sorted(pairs | others)
            for gap in gaps(group, topic, kafka, services.get(group), group in again)
        ]
        behind = [gap for gap in found if not gap.is_empty]
        spans: dict[tuple[str, int], tuple[int, int]] = {}
        for gap in behind:
            start, _ = spans.get(gap.partition, (gap.position.offset, 0))
            spans[gap.partition] = min(start, gap.position.offset), gap.end
        ends = self._kafka.last_records(kafka.topic_ids, spans)
        unread = [gap for gap in behind if ends[gap.partition] > gap.position.offset]
        oldest = self._kafka.oldest(gap.position for gap in unread)
        silent = {gap.partition for gap in behind if gap.position not in oldest}
        if self._kafka.starts(silent) != {each: kafka.starts[each] for each in silent}:
            return self.measure_kafka(pairs, services, with_outside)  # Kafka has deleted records meanwhile
        retention = self._kafka.retention({gap.partition[0] for gap in unread})
        now = time.time()
        lags = [
            lag(
                gap,
                ends.get(gap.partition, gap.position.offset),
                oldest,
                retention.get(gap.partition[0]),
                now,
                from_append=event_topic(gap.partition[0]) != gap.partition[0],
            )
            for gap in found
        ]
        return kafka, list(self._judged(lags, kafka, services, again))

    def _judged(
        self,
        lags: Sequence[PartitionLag],
        kafka: KafkaFacts,
        services: Mapping[str, ServiceFacts],
        again: set[str],
    ) -> Iterable[GroupLag]:
        by_group: dict[str, list[PartitionLag]] = {}
        for each in lags:
            by_group.setdefault(each.group, []).append(each)
        for gone in self._histories.keys() - by_group.keys():
            del self._histories[gone]
        at = time.monotonic()
        for group in sorted(by_group, key=lambda name: (name not in self._services, name)):
            parts, history = by_group[group], self._histories[group]
            history.add(at, parts)
            held = (
                {place for name, place in services[group].held if name == group}
                if group in services
                else set()
            )
            members, trend = kafka.members.get(group, 0), history.trend()
            verdict = judge(parts, members, trend, held | history.standing(), group in again)
            trends = {topic: history.trend(topic) for topic in {each.topic for each in parts}}
            yield GroupLag(group, parts, members, verdict, trend, trends, group not in self._services)


def all_pairs(listening: Iterable[Pair], services: Iterable[str]) -> set[Pair]:
    """Adds to pairs of consumer and topic of events the redrive topics, and the readers of dead-letter topics."""
    found = set(listening)
    redriven = {(consumer, redrive_topic(topic, consumer)) for consumer, topic in found}
    parked = {(DEAD_LETTER_STORE, dead_letter_topic(topic, consumer)) for consumer, topic in found}
    return found | redriven | (parked if DEAD_LETTER_STORE in services else set())
