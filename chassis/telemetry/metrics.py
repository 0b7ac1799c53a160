"""The Prometheus metrics of a process."""

from prometheus_client import Counter, Gauge, Histogram

from chassis.telemetry.histograms import BatchHistogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400)
"""The upper bounds of buckets for what takes milliseconds, and days after an outage."""

EVENTS = Counter(
    "fanout_events",
    "Records by outcome: applied, duplicate, parked, skipped, ignored",
    ["consumer", "topic", "outcome"],
)
BATCH_SECONDS = Histogram(
    "fanout_batch_duration_seconds", "Time from the first read of a batch to its commit", ["consumer"]
)
EVENT_AGE = BatchHistogram(
    "fanout_event_age_seconds",
    "Time from when an event happened to the commit of its effect",
    ["consumer", "topic"],
    SECONDS,
)
OUTBOX_SECONDS = BatchHistogram(
    "fanout_outbox_seconds",
    "Time from an event's insertion into the outbox to Kafka's confirmation",
    ["service"],
    SECONDS,
)
RELAYED = Counter("fanout_relayed_events", "Outbox rows that Kafka confirmed", ["service"])
RELAY_ACTIVE = Gauge("fanout_relay_active", "1 if the relay of this process is the active one", ["service"])
UNSENT = Gauge("fanout_outbox_unsent", "Outbox rows to send, counted up to 10,000", ["service"])
OLDEST_UNSENT = Gauge(
    "fanout_outbox_oldest_unsent_seconds", "Age of the oldest outbox row to send", ["service"]
)
SET_ASIDE = Gauge("fanout_outbox_set_aside", "Outbox rows that cannot be sent", ["service"])
HELD = Gauge(
    "fanout_partition_held",
    "1 if the partition cannot be read at its next offset",
    ["consumer", "topic", "partition"],
)
LOST = Gauge(
    "kafka_consumergroup_group_messages_lost",
    "Messages that Kafka deleted before the group read them, since the group exists",
    ["group", "topic", "partition"],
)
HOLDING = Gauge("fanout_consumer_holding", "Partitions that wait for an unavailable dependency", ["consumer"])

REQUEST_SECONDS = Histogram(
    "fanout_http_request_duration_seconds",
    "Time from a request's arrival to its answer, without the requests that admission control refuses",
    ["method", "route", "status"],
)
REFUSED = Counter("fanout_refused_requests", "POST requests answered 503, by reason", ["reason"])
GROUP_SIZE = Histogram(
    "fanout_group_commit_size", "Number of requests in a transaction", buckets=(1, 2, 5, 10, 20, 50, 100)
)
