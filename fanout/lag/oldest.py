"""When the first message that a group has not processed was made: its ce_time, else the record's own time."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from time import monotonic

from confluent_kafka import Consumer, TopicPartition

from fanout.lag.broker import TIMEOUT, Gap, Place


def times(consumer: Consumer, gaps: Iterable[Gap]) -> dict[Place, float]:
    """Unix time of the record each gap begins with; records that cannot be read in time are left out."""
    return {place: at for places in _rounds(gaps) for place, at in _read(consumer, places)}


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


def _read(consumer: Consumer, places: Collection[Place]) -> Iterator[tuple[Place, float]]:
    consumer.assign([TopicPartition(*place) for place in places])
    asked = {(place.topic, place.partition): place for place in places}
    deadline = monotonic() + TIMEOUT
    while asked and monotonic() < deadline:
        message = consumer.poll(0.2)
        place = asked.pop((message.topic() or "", message.partition() or 0), None) if message else None
        if message and place and not message.error():
            yield place, made_at(message.headers(), message.timestamp()[1])


def made_at(headers: object, timestamp_ms: int) -> float:
    """RFC 3339, as CloudEvents has it; what is not is not believed."""
    stated = dict(headers).get("ce_time", b"") if isinstance(headers, list) else b""
    try:
        return datetime.fromisoformat((stated or b"").decode()).timestamp()
    except ValueError:
        return timestamp_ms / 1000
