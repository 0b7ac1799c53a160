"""The exporter's metrics, from one measurement. Of Kafka's groups:

kafka_consumergroup_group_lag{group,topic,partition}: messages not processed; _max_lag{group}: the most in a partition
kafka_consumergroup_group_lag_seconds{group,topic,partition}: age of the oldest of them by its `ce_time`, in redrive and
    dead-letter topics since Kafka appended it; 0 if there is none; _max_lag_seconds{group}: the oldest of the group
kafka_consumergroup_group_retention_margin_seconds{group,topic,partition}: until Kafka may delete it, 0 when it may;
    absent if nothing is unread, or nothing expires by age
kafka_consumergroup_group_messages_lost{group,topic,partition}: deleted unread, since the group exists
kafka_consumergroup_group_offset{group,topic,partition}: the next to process
kafka_consumergroup_group_members{group}
fanout_lag_verdict{group,verdict}: 1 for the verdict of now (verdicts.py), 0 for the others
fanout_lag_trend{group}: messages a second by which the lag grows; below 0 when the group catches up
fanout_partition_held{consumer,topic,partition}: 1 for a partition that a consumer cannot read on

Of Kafka: kafka_brokers, kafka_topic_partitions{topic}, kafka_partition_earliest_offset{topic,partition} and
_latest_offset.

Of services, also while their workers are dead:

fanout_outbox_unsent{service}: rows to send, counted up to 10,000; fanout_outbox_oldest_unsent_seconds: the oldest's age
fanout_outbox_set_aside{service}: rows that cannot be sent
fanout_inbox_duplicates_total{consumer}: events that were delivered again and ignored
fanout_dead_letters{consumer,topic,reason,status}, fanout_redrives_total{consumer}
fanout_orders{status}
fanout_orders_settled_total{within}: orders paid by card that were placed 30 s ago or earlier, since the exporter's
    start: "all" of them, and those confirmed or cancelled within "30s"
fanout_orders_unsettled_oldest_seconds: age of the oldest order paid by card that is not decided; 0 if there is none
fanout_revenue_cents_total{currency}: total of the orders confirmed since the exporter's start, 30 s late

fanout_exporter_error{source}: 1 if `kafka` or a service does not answer; its other metrics are absent then.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fanout.errors import FanoutError
from fanout.lag.business import SETTLED_SECONDS, DeadLetterFigures, OrderFigures
from fanout.lag.kafka import KafkaFacts
from fanout.lag.measure import KAFKA, Measurement
from fanout.lag.partitions import PartitionLag
from fanout.lag.services import ServiceFacts
from fanout.lag.verdicts import VERDICTS, GroupLag

STATUSES = ("placed", "confirmed", "cancelled", "shipped")
PARTITION = ("group", "topic", "partition")

Samples = Iterable[tuple[Sequence[str], float | None]]
"""Values of labels and the metric's; None leaves the sample out."""


@dataclass(frozen=True)
class Figures:
    """All that the exporter has read at one time. `errors` are those of orders and dead letters."""

    measured: Measurement
    orders: OrderFigures | None = None
    dead_letters: DeadLetterFigures | None = None
    errors: Mapping[str, FanoutError] = field(default_factory=dict)


def metrics(figures: Figures, services: Sequence[str]) -> Iterator[Metric]:
    measured = figures.measured
    failed = measured.errors.keys() | figures.errors.keys()
    yield gauge("fanout_exporter_up", "1", (), [((), 1)])
    sources = [((each,), each in failed) for each in (KAFKA, *services)]
    yield gauge("fanout_exporter_error", "1 if the source does not answer", ("source",), sources)
    if measured.kafka:
        yield from of_kafka(measured.kafka)
        yield from of_partitions([each for group in measured.groups for each in group.partitions])
        yield from of_groups(measured.groups)
    yield from of_services(measured.services)
    if figures.orders:
        yield from of_orders(figures.orders)
    if figures.dead_letters:
        consumers = {consumer for each in measured.services for consumer, _ in each.listening}
        yield from of_dead_letters(figures.dead_letters, consumers)


def of_partitions(partitions: Sequence[PartitionLag]) -> Iterator[Metric]:
    named = [((each.group, each.topic, str(each.partition)), each) for each in partitions]
    prefix = "kafka_consumergroup_group"
    yield gauge(
        f"{prefix}_lag", "Messages not processed", PARTITION, ((at, each.messages) for at, each in named)
    )
    ages = ((at, each.seconds if each.messages else 0) for at, each in named)
    yield gauge(f"{prefix}_lag_seconds", "Age of the oldest message not processed", PARTITION, ages)
    yield gauge(
        f"{prefix}_offset", "Next offset to process", PARTITION, ((at, each.offset) for at, each in named)
    )
    lost = ((at, each.lost) for at, each in named)
    yield gauge(
        f"{prefix}_messages_lost", "Messages that Kafka deleted before they were read", PARTITION, lost
    )
    margins = ((at, each.margin_seconds) for at, each in named)
    what = "Seconds until Kafka may delete the oldest message not read"
    yield gauge(f"{prefix}_retention_margin_seconds", what, PARTITION, margins)


def of_groups(groups: Sequence[GroupLag]) -> Iterator[Metric]:
    prefix, label = "kafka_consumergroup_group", ("group",)
    most = (((each.group,), max(part.messages for part in each.partitions)) for each in groups)
    yield gauge(f"{prefix}_max_lag", "Largest lag of a partition", label, most)
    oldest = (((each.group,), each.seconds if each.messages else 0) for each in groups)
    yield gauge(f"{prefix}_max_lag_seconds", "Largest lag of a partition in seconds", label, oldest)
    yield gauge(f"{prefix}_members", "Members", label, (((each.group,), each.members) for each in groups))
    trends = (((each.group,), each.trend) for each in groups)
    yield gauge("fanout_lag_trend", "Messages a second by which the lag grows", label, trends)
    verdicts = (((each.group, word), each.verdict == word) for each in groups for word in VERDICTS)
    yield gauge("fanout_lag_verdict", "1 for the verdict of now", ("group", "verdict"), verdicts)


def of_kafka(kafka: KafkaFacts) -> Iterator[Metric]:
    yield gauge("kafka_brokers", "Brokers that are up", (), [((), kafka.brokers)])
    labels = ("topic", "partition")
    for name, what, offsets in (
        ("kafka_partition_earliest_offset", "First offset", kafka.starts),
        ("kafka_partition_latest_offset", "Offset after the last", kafka.ends),
    ):
        yield gauge(name, what, labels, (((topic, str(n)), at) for (topic, n), at in offsets.items()))
    partitions = Counter(topic for topic, _ in kafka.ends)
    counts = (((topic,), number) for topic, number in partitions.items())
    yield gauge("kafka_topic_partitions", "Partitions", ("topic",), counts)


def of_services(services: Sequence[ServiceFacts]) -> Iterator[Metric]:
    label = ("service",)
    unsent = (((each.service,), each.outbox.unsent) for each in services)
    yield gauge("fanout_outbox_unsent", "Outbox rows to send, counted up to 10,000", label, unsent)
    ages = (((each.service,), each.outbox.oldest_seconds or 0) for each in services)
    yield gauge("fanout_outbox_oldest_unsent_seconds", "Age of the oldest outbox row to send", label, ages)
    aside = (((each.service,), each.outbox.set_aside) for each in services)
    yield gauge("fanout_outbox_set_aside", "Outbox rows that cannot be sent", label, aside)
    held = (((name, topic, str(number)), 1) for each in services for name, (topic, number) in each.held)
    labels = ("consumer", "topic", "partition")
    yield gauge("fanout_partition_held", "1 if the partition cannot be read at its next offset", labels, held)
    duplicates = Counter({each.service: 0 for each in services if each.listening})
    for each in services:
        for (consumer, _), at in each.positions.items():
            duplicates[consumer] += at.duplicates
    ignored = (((consumer,), number) for consumer, number in duplicates.items())
    yield counter(
        "fanout_inbox_duplicates", "Events that were delivered again and ignored", ("consumer",), ignored
    )


def of_orders(orders: OrderFigures) -> Iterator[Metric]:
    by_status = (((status,), orders.by_status.get(status, 0)) for status in STATUSES)
    yield gauge("fanout_orders", "Orders by status", ("status",), by_status)
    settled = [((f"{SETTLED_SECONDS}s",), orders.settled), (("all",), orders.judged)]
    what = "Orders placed 30 s ago or earlier: all, and those settled within 30 s"
    yield counter("fanout_orders_settled", what, ("within",), settled)
    age = [((), orders.oldest_unsettled_seconds)]
    yield gauge("fanout_orders_unsettled_oldest_seconds", "Age of the oldest order not decided", (), age)
    revenue = (((currency,), cents) for currency, cents in orders.revenue_cents.items())
    yield counter("fanout_revenue_cents", "Total of confirmed orders", ("currency",), revenue)


def of_dead_letters(found: DeadLetterFigures, consumers: Iterable[str]) -> Iterator[Metric]:
    labels = ("consumer", "topic", "reason", "status")
    yield gauge("fanout_dead_letters", "Dead letters", labels, found.dead_letters.items())
    redrives = (((each,), found.redrives.get(each, 0)) for each in sorted({*consumers, *found.redrives}))
    yield counter("fanout_redrives", "Dead letters sent back to their consumer", ("consumer",), redrives)


def gauge(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(name, what, labels=labels), samples)


def counter(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    """The name is without `_total`."""
    return _filled(CounterMetricFamily(name, what, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    """Adds the samples that have a value to the family, and returns it."""
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family
