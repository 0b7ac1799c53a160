"""Names of the topics that belong to a consumer of a topic: its dead letters, and its redriven records."""

DEAD_LETTERS = r"^.+\.dlq$"
"""Matches the names of all dead-letter topics."""

DLQ, REDRIVE = ".dlq", ".retry"


def dead_letter_topic(topic: str, consumer: str) -> str:
    """Returns the topic to which the consumer's parked records of `topic` are sent."""
    return f"{topic}.{consumer}{DLQ}"


def redrive_topic(topic: str, consumer: str) -> str:
    """Returns the redrive topic, which only this consumer reads."""
    return f"{topic}.{consumer}{REDRIVE}"


def event_topic(name: str) -> str:
    """Returns the topic of events that a dead-letter or redrive topic belongs to, or the topic itself."""
    return name.rsplit(".", 2)[0] if name.endswith((DLQ, REDRIVE)) else name
