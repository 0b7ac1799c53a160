"""Kafka's errors are classified: the row is refused, or all rows are sent again."""

import pytest
from confluent_kafka import KafkaError

from chassis.outbox.outcome import Outcome, Outgoing, has_order

ROW = Outgoing(7, "orders", b"k", b"v", [])


def after(code: int, is_alone: bool = False) -> Outcome:
    outcome = Outcome()
    outcome.failed(ROW, KafkaError(code), is_alone)
    return outcome


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    ],
)
def test_an_error_of_one_message_refuses_its_row(code: int) -> None:
    outcome = after(code)
    assert [row.id for row in outcome.refused] == [7]
    assert outcome.is_good_so_far


@pytest.mark.parametrize(
    "code", [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.POLICY_VIOLATION]
)
def test_an_error_of_a_batch_refuses_a_row_only_if_it_was_alone(code: int) -> None:
    assert (after(code).suspects, after(code).refused) == ({7}, [])
    assert [row.id for row in after(code, is_alone=True).refused] == [7]


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_TIMESTAMP,
    ],
)
def test_an_outage_refuses_no_row_and_names_the_topic(code: int) -> None:
    """An invalid timestamp is this process' clock, and not a property of the row."""
    outcome = after(code, is_alone=True)
    assert outcome.refused == []
    assert outcome.failure is not None and "topic orders" in outcome.failure


@pytest.mark.parametrize(
    "code",
    [KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL, KafkaError._GAPLESS_GUARANTEE],
)
def test_a_row_that_was_given_up_because_of_another_is_not_refused(code: int) -> None:
    outcome = after(code)
    assert (outcome.refused, outcome.suspects, outcome.failure) == ([], set(), None)


def test_only_events_with_a_key_have_an_order() -> None:
    assert has_order("orders", b"k") and has_order("orders.fraud.retry", b"k")
    assert not has_order("orders", None)
    assert not has_order("orders.fraud.dlq", b"k")
