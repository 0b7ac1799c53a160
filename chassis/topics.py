"""The topics beside a topic: where a consumer's dead letters go, and where they come back to it alone."""

DEAD_LETTERS = r"^.+\.dlq$"
"""A pattern of the names of all dead-letter topics, also of those that are still to come."""

RETRY = ".retry"


def dead_letter_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}.dlq"


def retry_topic(topic: str, consumer: str) -> str:
    return f"{topic}.{consumer}{RETRY}"
