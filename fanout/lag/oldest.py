"""Tells when the first message that a group has not processed was made: its ce_time, else the record's own time."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from confluent_kafka import Consumer, Message, TopicPartition

from fanout.kafka_reader import TIMEOUT
from fanout.lag.broker import Gap, Place


@dataclass(frozen=True)
class Oldest:
    """Unix times of the records with which gaps begin, and the places of those whose headers cannot be read."""

    made: Mapping[Place, float]
    unreadable: Collection[Place]


def oldest(consumer: Consumer, gaps: Iterable[Gap]) -> Oldest:
    """Records that Kafka does not deliver in time are left out."""
    made, unreadable = {}, []
    for places in _rounds(gaps):
        for place, message in _read(consumer, places):
            headers = _headers(message)
            if headers is None:
                unreadable.append(place)
            made[place] = made_at(headers, message.timestamp()[1])
    return Oldest(made, unreadable)


def _headers(message: Message) -> object:
    """None where a name is not UTF-8: the client answers that with a SystemError."""
    try:
        return message.headers() or []
    except (SystemError, UnicodeDecodeError):
        return None


def _rounds(gaps: Iterable[Gap]) -> list[set[Place]]:
    """A consumer has one position in a partition, so each round asks for one offset of each."""
    rounds: list[dict[tuple[str, int], Place]] = []
    for place in sorted({gap.first for gap in gaps if gap.messages}):
        where = place.topic, place.partition
        free = next((chosen for chosen in rounds if where not in chosen), None)
        if free is None:
            rounds.append(free := {})
        free[where] = place
    return [set(chosen.values()) for chosen in rounds]


def _read(consumer: Consumer, places: Collection[Place]) -> Iterator[tuple[Place, Message]]:
    consumer.assign([TopicPartition(*place) for place in places])
    asked = {(place.topic, place.partition): place for place in places}
    deadline = monotonic() + TIMEOUT
    while asked and monotonic() < deadline:
        message = consumer.poll(0.2)
        place = asked.pop((message.topic() or "", message.partition() or 0), None) if message else None
        if message and place and not message.error():
            yield place, message


def made_at(headers: object, timestamp_ms: int) -> float:
    """RFC 3339, as CloudEvents has it; what is not is not believed."""
    stated = dict(headers).get("ce_time", b"") if isinstance(headers, list) else b""
    try:
        return datetime.fromisoformat((stated or b"").decode()).timestamp()
    except ValueError:
        return timestamp_ms / 1000
