"""Keeps dead letters within what the relay sends: what is too large stays in the consumer's table `parked` only."""

from collections.abc import Sequence

Headers = Sequence[tuple[str, bytes | None]]

LARGEST_BYTES = 2 * 1024 * 1024
"""The relay's largest message, and that of a dead-letter topic."""
ROOM_BYTES = 64 * 1024
"""For the dead-letter headers, and for what Kafka adds to a message."""

VALUE_OMITTED = "dlq_value_omitted"
"""The header that says how many bytes of a value were left out."""


def fitted(
    key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes | None, Headers]:
    """Leaves the value out if the message is too large with it, and key and headers if it is so without it."""
    if _size(key, value, headers) <= LARGEST_BYTES - ROOM_BYTES:
        return key, value, headers
    omitted = [(VALUE_OMITTED, str(len(value or b"")).encode())]
    if _size(key, None, headers) <= LARGEST_BYTES - ROOM_BYTES:
        return key, None, [*headers, *omitted]
    return None, None, omitted


def is_incomplete(headers: Headers) -> bool:
    return any(name == VALUE_OMITTED for name, _ in headers)


def complete(headers: Headers) -> Headers:
    """Returns the headers of a message that has a value again."""
    return [(name, value) for name, value in headers if name != VALUE_OMITTED]


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """Counts ten bytes for the lengths of each header, which is more than Kafka takes."""
    written = sum(len(name.encode()) + len(content or b"") + 10 for name, content in headers)
    return len(key or b"") + len(value or b"") + written
