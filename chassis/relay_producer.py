"""Sends a batch of messages to Kafka in their order, and reports each one that Kafka has confirmed."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from chassis.broker import Broker

CONFIG = {
    "enable.idempotence": True,
    # A gap is a fatal error: without this, a message that timed out is skipped and sent later, out of order.
    "enable.gapless.guarantee": True,
    "acks": "all",
    # Where Java and aiokafka put a key; librdkafka's default differs.
    "partitioner": "murmur2_random",
    "delivery.timeout.ms": 10_000,
    # Longer than it takes to queue a batch, so that batches are whole; flush() sends what waits at once.
    "linger.ms": 5,
    "message.max.bytes": 2_097_152,
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 4,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outgoing:
    id: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Sent:
    id: int
    partition: int
    offset: int


class OrderedProducer:
    """After any failure librdkafka's producer is thrown away, and with it all it still holds."""

    def __init__(self, kafka: Broker) -> None:
        self._kafka = kafka
        self._producer: Producer | None = None

    def connect(self) -> None:
        """Begins to connect, so that the first batch finds a connection."""
        self._producer = self._producer or Producer(
            CONFIG | self._kafka.for_librdkafka(), logger=logging.getLogger("librdkafka")
        )

    def send(self, outgoing: Sequence[Outgoing], stop: asyncio.Event) -> list[Sent]:
        """Runs in a thread. Returns what Kafka has confirmed; anything less than all is a failure, and logged."""
        self.connect()
        assert self._producer is not None
        producer = self._producer
        sent: list[Sent] = []
        failed: list[str] = []
        try:
            for message in outgoing:
                _produce(producer, message, sent, failed, stop)
            while not failed and not stop.is_set() and producer.flush(0.1):
                pass
        except KafkaException as error:
            failed.append(str(error))
        if len(sent) < len(outgoing):
            self._producer = None
            _discard(producer)
            reason = failed[0] if failed else "stopping"
            log.warning("delivery_failed", undelivered=len(outgoing) - len(sent), error=reason)
        return sent


def _produce(
    producer: Producer, message: Outgoing, sent: list[Sent], failed: list[str], stop: asyncio.Event
) -> None:
    def report(error: KafkaError | None, delivered: Message) -> None:
        if error is not None:
            failed.append(f"{message.topic}: {error}")
            return
        sent.append(Sent(message.id, delivered.partition() or 0, delivered.offset() or 0))

    while not failed and not stop.is_set():
        try:
            producer.produce(
                message.topic, message.value, message.key, on_delivery=report, headers=message.headers
            )
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


def _discard(producer: Producer) -> None:
    try:
        producer.purge()
        producer.poll(0)
    except KafkaException as error:  # a producer that has met a gap raises in every call
        log.info("producer_discarded", error=str(error))
