"""Dead letters, and the headers that carry a parked record's origin and reason, after the record's own headers.

A dead letter ends in DLQ_HEADERS; a redriven record ends in REDRIVE_HEADERS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.events.record import REDRIVES, Record
from chassis.events.topics import REDRIVE
from schemas import Event

Headers = Sequence[tuple[str, bytes | None]]

ORIGIN = ("topic", "partition", "kafka_offset", "record_at", "attempts", "first_failed_at", "redrive")
REASON = ("consumer", "failure", "error_type", "error_message", "last_failed_at")
REDRIVE_HEADERS = tuple(f"dlq_{name}" for name in ORIGIN)
DLQ_HEADERS = (*REDRIVE_HEADERS, *(f"dlq_{name}" for name in REASON))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record was first read, and how often it has failed and was redriven since."""

    topic: str
    partition: int
    kafka_offset: int
    record_at: datetime
    attempts: int = 0
    first_failed_at: datetime | None = None
    redrive: int = 0

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> "Origin":
        """Raises KeyError or ValueError for headers that were not written here."""
        return cls(
            topic=headers["dlq_topic"],
            partition=_count(headers["dlq_partition"], 2**31),
            kafka_offset=_count(headers["dlq_kafka_offset"], 2**63),
            record_at=parse_timestamp(headers["dlq_record_at"]),
            attempts=_count(headers["dlq_attempts"], 2**31),
            first_failed_at=parse_timestamp(headers["dlq_first_failed_at"]),
            redrive=_count(headers["dlq_redrive"], REDRIVES),
        )


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked record, unchanged, and the reason. `event` is None if decoding fails with `decode_error`."""

    consumer: str
    origin: Origin
    event_id: UUID | None
    type: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    failure: str
    error_type: str
    error_message: str
    last_failed_at: datetime
    event: Event | None
    decode_error: str | None


def origin_of(record: Record) -> tuple[Origin, Headers]:
    """Returns the record's own position or, if it was redriven, its first one; and its headers without ours."""
    here = Origin(record.topic, record.partition, record.offset, record.at)
    if not record.topic.endswith(REDRIVE):
        return here, record.headers
    own, added = split_headers(record.headers, REDRIVE_HEADERS)
    try:
        return Origin.read(added), own
    except (KeyError, ValueError):
        return here, record.headers


def split_headers(headers: Headers, names: Sequence[str]) -> tuple[Headers, dict[str, str]]:
    """Returns the record's own headers and those called `names` after them; all and none if there are no such."""
    own, last = headers[: -len(names)], headers[-len(names) :]
    if tuple(name for name, _ in last) != tuple(names):
        return headers, {}
    return own, {name: without_nul((value or b"").decode("utf-8", "replace")) for name, value in last}


def to_headers(names: Sequence[str], values: Mapping[str, object]) -> list[tuple[str, bytes | None]]:
    """Returns headers called `names`, from `values` by name without the prefix."""
    return [(name, str(values[name.removeprefix("dlq_")]).encode()) for name in names]


def parse_timestamp(header: str) -> datetime:
    """Raises ValueError for a time without a zone, or one that Postgres cannot store."""
    at = datetime.fromisoformat(header)
    if at.tzinfo is None or not 1970 <= at.year < 9999:
        raise ValueError(f"{header} is not a timestamp")
    return at


def without_nul(text: str) -> str:
    """Returns the text with NUL replaced, which Postgres cannot store."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _count(header: str, limit: int) -> int:
    if not (header.isascii() and header.isdecimal() and len(header) < 20 and int(header) < limit):
        raise ValueError(f"{header[:20]} is not a count below {limit}")
    return int(header)
