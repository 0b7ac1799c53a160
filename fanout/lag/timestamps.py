"""The time of a record: when its event was made, or when Kafka appended it."""

from datetime import datetime


def made_at(headers: object, timestamp_ms: int) -> float:
    """Returns the Unix time of `ce_time` (RFC 3339), or of the record if that is missing or no such time."""
    ce_time = dict(headers).get("ce_time", b"") if isinstance(headers, list) else b""
    try:
        return datetime.fromisoformat((ce_time or b"").decode()).timestamp()
    except ValueError:
        return timestamp_ms / 1000
