"""Sends messages one at a time after Kafka refused a batch as a whole, to find out which message it refuses."""

from collections.abc import Sequence
from time import monotonic

from chassis.outbox.outcome import Outcome, Outgoing, Refused
from chassis.outbox.producer import POLL_SECONDS, Flag, OrderedProducer, discard, produce
from chassis.outbox.producer_config import ONE_BY_ONE


def send_one_by_one(
    kafka: OrderedProducer, batch: Sequence[Outgoing | Refused], outcome: Outcome, stop: Flag, deadline: float
) -> None:
    """Sends the rest of the batch up to the last suspect: a message that Kafka refuses alone is refused."""
    done = {row.id for row in outcome.sent} | {row.id for row in outcome.refused}
    last = max(outcome.suspects)
    outcome.suspects.clear()
    producer = kafka.new(ONE_BY_ONE)
    for row in batch:
        if row.id > last or stop.is_set() or monotonic() > deadline or outcome.failure:
            break
        if isinstance(row, Refused) or row.id in done or outcome.must_wait(row):
            continue
        produce(producer, row, outcome, is_alone=True)
        while producer.flush(POLL_SECONDS) and not stop.is_set():
            pass
    discard(producer)
