"""Questions about topics: what is asked again after no answer is asked by a new client."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from chassis.config import Broker
from chassis.events import kafka_topics
from chassis.events.kafka_topics import KafkaTopics, KafkaUnavailable

AN_ID = SimpleNamespace(get_most_significant_bits=lambda: 0, get_least_significant_bits=lambda: 7)


class Client:
    """Answers like Kafka's admin client; each request to the first instance times out."""

    made = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        type(self).made += 1
        self._is_stuck = self.made == 1

    def describe_topics(self, topics: object, **_: Any) -> dict[str, Future[object]]:
        answer: Future[object] = Future()
        if self._is_stuck:
            answer.set_exception(KafkaException(KafkaError(KafkaError._TIMED_OUT)))
        else:
            answer.set_result(SimpleNamespace(topic_id=AN_ID))
        return {"orders": answer}


async def test_a_client_that_got_no_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "made", 0)
    monkeypatch.setattr(kafka_topics, "AdminClient", Client)
    kafka = KafkaTopics(Broker("localhost:1"))
    with pytest.raises(KafkaUnavailable, match="_TIMED_OUT"):
        await kafka.ids(["orders"])
    assert [each.int for each in (await kafka.ids(["orders"])).values()] == [7]
    assert [each.int for each in (await kafka.ids(["orders"])).values()] == [7]
    assert Client.made == 2
