"""The topics beside a topic: where a consumer's dead letters go, and where they come back to it alone."""

DEAD_LETTERS = r"^.+\.dlq$"
"""A pattern of the names of all dead-letter topics, also of those that are still to come."""

DLQ, RETRY = ".dlq", ".retry"


def dead_letter_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}{DLQ}"


def retry_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}{RETRY}"


def event_topic(name: str) -> str:
    """Returns the topic beside which this one is; a topic that is beside no other is its own."""
    return name.rsplit(".", 2)[0] if name.endswith((DLQ, RETRY)) else name
