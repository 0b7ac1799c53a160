"""Sends a batch of messages to Kafka in their order, and returns which of them Kafka confirmed."""

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from chassis.config import Broker
from chassis.events.dead_letter_size import LARGEST_BYTES
from chassis.outbox.outcome import Outcome, Outgoing, Refused, Sent, refused

LIFETIME_SECONDS = 10.0
"""A message that Kafka has not confirmed by then is given up, and never sent later."""
NO_TOPIC_SECONDS = 3.0
"""A topic that Kafka has not known for so long does not exist."""
POLL_SECONDS = 0.1

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

log = structlog.get_logger()


class Flag(Protocol):
    def is_set(self) -> bool: ...


class OrderedProducer:
    """Keeps the order of messages also after a failure: discards librdkafka's producer with all that it holds."""

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka
        self._producer: Producer | None = None

    def send(self, batch: Sequence[Outgoing | Refused], stop: Flag, deadline: float) -> Outcome:
        """Sends the batch and waits for all delivery reports; blocks, so it is run in a thread.

        Produces no further message after `deadline` (seconds of the monotonic clock), a failure, or `stop`.
        """
        outcome, producer, fatal = Outcome(), self.connect(), None
        for row in batch:
            if stop.is_set() or monotonic() > deadline or not outcome.is_good_so_far:
                break
            if isinstance(row, Refused):
                outcome.refuse(row)
            elif not outcome.must_wait(row):
                _produce(producer, row, outcome)
        try:
            while producer.flush(POLL_SECONDS) and outcome.is_good_so_far and not stop.is_set():
                pass
        except KafkaException as error:  # the delivery reports that are still to come give the reason
            fatal = str(error)
        if fatal or len(producer) or not outcome.is_good_so_far:
            self._producer = None
            _discard(producer)
        if fatal and outcome.is_good_so_far:
            outcome.failure = fatal
        if outcome.suspects and outcome.failure is None:
            self._send_one_by_one(batch, outcome, stop, deadline)
        return outcome

    def connect(self) -> Producer:
        self._producer = self._producer or self._new(CONFIG)
        return self._producer

    def topics(self) -> set[str]:
        """Returns the topics that exist. Raises KafkaException while Kafka is unavailable."""
        return set(self.connect().list_topics(timeout=LIFETIME_SECONDS).topics)

    def _new(self, config: dict[str, Any]) -> Producer:
        return Producer(config | self._kafka.for_librdkafka(), logger=logging.getLogger("librdkafka"))

    def _send_one_by_one(
        self, batch: Sequence[Outgoing | Refused], outcome: Outcome, stop: Flag, deadline: float
    ) -> None:
        """Sends the rest of the batch up to the last suspect: a message that Kafka refuses alone is refused."""
        done = {row.id for row in outcome.sent} | {row.id for row in outcome.refused}
        last = max(outcome.suspects)
        outcome.suspects.clear()
        producer = self._new(ONE_BY_ONE)
        for row in batch:
            if row.id > last or stop.is_set() or monotonic() > deadline or outcome.failure:
                break
            if isinstance(row, Refused) or row.id in done or outcome.must_wait(row):
                continue
            _produce(producer, row, outcome, is_alone=True)
            while producer.flush(POLL_SECONDS) and not stop.is_set():
                pass
        _discard(producer)


ONE_BY_ONE = CONFIG | {"enable.idempotence": False, "enable.gapless.guarantee": False, "max.in.flight": 1}
"""One message at a time leaves no gap, so a refusal need not end the producer."""


def _produce(producer: Producer, row: Outgoing, outcome: Outcome, is_alone: bool = False) -> None:
    """Queues a message; its delivery report is added to `outcome`."""

    def report(error: KafkaError | None, delivered: Message) -> None:
        if error is None:
            outcome.sent.append(Sent(row.id, delivered.partition() or 0, delivered.offset() or 0))
        else:
            outcome.failed(row, error, is_alone)

    while True:
        try:
            producer.produce(row.topic, row.value, row.key, on_delivery=report, headers=[*row.headers])
            producer.poll(0)
            return
        except BufferError:
            producer.poll(POLL_SECONDS)
        except KafkaException as error:
            outcome.failed(row, error.args[0], is_alone=True)
            return
        except (TypeError, ValueError) as error:
            outcome.refuse(refused(row, type(error).__name__, str(error)))
            return


def _discard(producer: Producer) -> None:
    """Collects the delivery reports that are there, gives up all other messages, and collects their reports."""
    _collect_reports(producer)
    producer.purge()
    _collect_reports(producer)


def _collect_reports(producer: Producer) -> None:
    while True:
        try:
            if not producer.poll(POLL_SECONDS):
                return
        except KafkaException as error:
            log.info("producer_failed", error=str(error))
