"""What is written on a dead letter, in headers after its own: where it came from, and what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from chassis.events.record import REDRIVES, Record
from chassis.events.topics import RETRY

Headers = Sequence[tuple[str, bytes | None]]

ORIGIN = ("topic", "partition", "kafka_offset", "record_at", "attempts", "first_failed_at", "redrive")
REASON = ("consumer", "failure", "error_type", "error_message", "last_failed_at")
REDRIVE_HEADERS = tuple(f"dlq_{name}" for name in ORIGIN)
DLQ_HEADERS = (*REDRIVE_HEADERS, *(f"dlq_{name}" for name in REASON))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record was first read, whatever became of it since: how often it failed, and was sent back."""

    topic: str
    partition: int
    kafka_offset: int
    record_at: datetime
    attempts: int = 0
    first_failed_at: datetime | None = None
    redrive: int = 0

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> "Origin":
        """Raises KeyError or ValueError for labels that we did not write."""
        return cls(
            topic=labels["dlq_topic"],
            partition=_count(labels["dlq_partition"], 2**31),
            kafka_offset=_count(labels["dlq_kafka_offset"], 2**63),
            record_at=moment(labels["dlq_record_at"]),
            attempts=_count(labels["dlq_attempts"], 2**31),
            first_failed_at=moment(labels["dlq_first_failed_at"]),
            redrive=_count(labels["dlq_redrive"], REDRIVES),
        )


def moment(label: str) -> datetime:
    """Raises ValueError for what is not one that a database keeps."""
    at = datetime.fromisoformat(label)
    if at.tzinfo is None or not 1970 <= at.year < 9999:
        raise ValueError(f"{label} is no moment")
    return at


def _count(label: str, limit: int) -> int:
    if not (label.isascii() and label.isdecimal() and len(label) < 20 and int(label) < limit):
        raise ValueError(f"{label[:20]} is no count below {limit}")
    return int(label)


def storable(words: str) -> str:
    """Postgres text holds no NUL."""
    return words.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def written(names: Sequence[str], values: Mapping[str, object]) -> list[tuple[str, bytes | None]]:
    """`values` by column name, without the prefix."""
    return [(name, str(values[name.removeprefix("dlq_")]).encode()) for name in names]


def split_headers(headers: Headers, names: Sequence[str]) -> tuple[Headers, dict[str, str]]:
    """The headers a record had before `names` were written after them, and those; all and none if they were not."""
    own, last = headers[: -len(names)], headers[-len(names) :]
    if tuple(name for name, _ in last) != tuple(names):
        return headers, {}
    return own, {name: storable((value or b"").decode("utf-8", "replace")) for name, value in last}


def origin_of(record: Record) -> tuple[Origin, Headers]:
    """Of a record that came back, where it first came from; and in any case the headers it had there."""
    here = Origin(record.topic, record.partition, record.offset, record.at)
    if not record.topic.endswith(RETRY):
        return here, record.headers
    own, labels = split_headers(record.headers, REDRIVE_HEADERS)
    try:
        return Origin.read(labels), own
    except (KeyError, ValueError):
        return here, record.headers
