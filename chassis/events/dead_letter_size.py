"""Limits the size of dead letters: a value that is too large to send stays only in the consumer's table `parked`."""

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]

LARGEST_BYTES = 2 * 1024 * 1024
"""The largest message that the relay sends and that a dead-letter topic accepts."""
ROOM_BYTES = 64 * 1024
"""Reserved for the dead-letter headers and for what Kafka adds to a message."""

VALUE_OMITTED = "dlq_value_omitted"
"""The header with the size in bytes of a value that was left out."""


def limit_size(
    key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes | None, Headers]:
    """Leaves the value out if the message is too large, and key and headers too if it is still too large."""
    if _size(key, value, headers) <= LARGEST_BYTES - ROOM_BYTES:
        return key, value, headers
    omitted = [(VALUE_OMITTED, str(len(value or b"")).encode())]
    if _size(key, None, headers) <= LARGEST_BYTES - ROOM_BYTES:
        return key, None, [*headers, *omitted]
    return None, None, omitted


def is_incomplete(headers: Headers) -> bool:
    """Returns True if the value was left out."""
    return any(name == VALUE_OMITTED for name, _ in headers)


def without_omission(headers: Headers) -> Headers:
    """Returns the headers without the one which says that the value was left out of the dead letter."""
    return [(name, value) for name, value in headers if name != VALUE_OMITTED]


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Returns the size in bytes, with ten for the lengths of each header, more than Kafka needs."""
    written = sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)
    return len(key or b"") + len(value or b"") + written
