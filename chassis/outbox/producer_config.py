"""Settings of the relay's producer: messages are sent in order, confirmed by all replicas, or given up in 10 s."""

from chassis.events.dead_letter_size import LARGEST_BYTES

LIFETIME_SECONDS = 10.0
"""A message that Kafka has not confirmed by then is given up, and never sent later."""
NO_TOPIC_SECONDS = 3.0
"""A topic that Kafka has not known for so long does not exist."""
CONFIG = {
    "enable.idempotence": True,
    # Makes a gap a fatal error; without it, a message that timed out is skipped and sent later, out of order.
    "enable.gapless.guarantee": True,
    "acks": "all",
    # Places keys as Java and aiokafka do; librdkafka's default differs.
    "partitioner": "murmur2_random",
    "delivery.timeout.ms": int(LIFETIME_SECONDS * 1000),
    # Longer than it takes to queue a batch, so that batches are whole; flush() sends what waits at once.
    "linger.ms": 5,
    "message.max.bytes": LARGEST_BYTES,
    "allow.auto.create.topics": False,
    "topic.metadata.propagation.max.ms": int(NO_TOPIC_SECONDS * 1000),
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 4,
}
ONE_BY_ONE = CONFIG | {"enable.idempotence": False, "enable.gapless.guarantee": False, "max.in.flight": 1}
"""One message at a time leaves no gap, so a refusal need not end the producer."""
