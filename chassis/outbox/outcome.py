"""Decides from Kafka's errors whether a row was refused for itself, or Kafka is unavailable and it is sent again.

| what Kafka or its client reports for a message            | what follows                                            |
|-----------------------------------------------------------|---------------------------------------------------------|
| a partition and an offset                                 | sent                                                    |
| no such topic, no right to it, larger than we send        | refused: this row cannot be sent, others can            |
| too large or invalid, which may be meant of a whole batch | the batch up to there is sent one by one to find out    |
| anything else                                             | Kafka is unavailable: everything is sent again later    |
"""

from dataclasses import dataclass, field

from confluent_kafka import KafkaError

UNKNOWN_TOPIC = "UNKNOWN_TOPIC_OR_PART"
NO_SUCH_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
OF_ONE_MESSAGE = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_EXCEPTION)
OF_A_BATCH = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
)
GIVEN_UP = (
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._FATAL,
    KafkaError._GAPLESS_GUARANTEE,
)
"""Errors of messages that were given up because another one failed."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An outbox row as a Kafka message."""

    id: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Sent:
    id: int
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be sent, and the reason."""

    id: int
    topic: str
    key: bytes | None
    error_type: str
    error_message: str


@dataclass
class Outcome:
    """The outcome of a batch. A row that is neither sent nor refused is sent again."""

    sent: list[Sent] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    suspects: set[int] = field(default_factory=set)
    """The ids of rows in a batch that Kafka refused as a whole."""
    failure: str | None = None
    """The first error that no single row is responsible for."""
    _refused_keys: set[tuple[str, bytes | None]] = field(default_factory=set)

    @property
    def is_good_so_far(self) -> bool:
        return self.failure is None and not self.suspects

    def must_wait(self, row: Outgoing) -> bool:
        """Returns True if an earlier row of the same topic and key was refused."""
        return (row.topic, row.key) in self._refused_keys

    def refuse(self, row: Refused) -> None:
        self.refused.append(row)
        if has_order(row.topic, row.key):
            self._refused_keys.add((row.topic, row.key))

    def failed(self, row: Outgoing, error: KafkaError, is_alone: bool) -> None:
        """Classifies the error of a row, which was the only one in its batch if `is_alone`."""
        code = error.code()
        if code in NO_SUCH_TOPIC:
            self.refuse(refused(row, UNKNOWN_TOPIC, f"Kafka has no topic {row.topic}"))
        elif code in OF_ONE_MESSAGE or (is_alone and code in OF_A_BATCH):
            self.refuse(refused(row, error.name(), error.str()))
        elif code in OF_A_BATCH:
            self.suspects.add(row.id)
        elif code not in GIVEN_UP and self.failure is None:
            self.failure = f"{error.name()} for topic {row.topic}: {error.str()}"


def refused(row: Outgoing, error_type: str, error_message: str) -> Refused:
    return Refused(row.id, row.topic, row.key, error_type, error_message)


def has_order(topic: str, key: bytes | None) -> bool:
    """Returns True for events with a key: they keep their order. Dead letters have none."""
    return key is not None and not topic.endswith(".dlq")
