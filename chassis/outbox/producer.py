"""Sends a batch of messages to Kafka in their order, and returns which of them Kafka confirmed."""

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from chassis.config import Broker
from chassis.outbox.outcome import Outcome, Outgoing, Refused, Sent, refused
from chassis.outbox.producer_config import CONFIG

POLL_SECONDS = 0.1

log = structlog.get_logger()


class Flag(Protocol):
    def is_set(self) -> bool: ...


class OrderedProducer:
    """Keeps the order of messages after a failure, by discarding librdkafka's producer and all its messages."""

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
                produce(producer, row, outcome)
        try:
            while producer.flush(POLL_SECONDS) and outcome.is_good_so_far and not stop.is_set():
                pass
        except KafkaException as error:  # the delivery reports that are still to come give the reason
            fatal = str(error)
        if fatal or len(producer) or not outcome.is_good_so_far:
            self._producer = None
            discard(producer)
        if fatal and outcome.is_good_so_far:
            outcome.failure = fatal
        return outcome

    def connect(self) -> Producer:
        self._producer = self._producer or self.new(CONFIG)
        return self._producer

    def new(self, config: dict[str, Any]) -> Producer:
        return Producer(config | self._kafka.for_librdkafka(), logger=logging.getLogger("librdkafka"))


def produce(producer: Producer, row: Outgoing, outcome: Outcome, is_alone: bool = False) -> None:
    """Queues a message; its delivery report is added to `outcome`."""

    def report(error: KafkaError | None, delivered: Message) -> None:
        if error is None:
            outcome.sent.append(Sent(row.id, row.topic, delivered.partition() or 0, delivered.offset() or 0))
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


def discard(producer: Producer) -> None:
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
