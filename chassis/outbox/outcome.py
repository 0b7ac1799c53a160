"""Decides what Kafka's answer says about a row: sent, refused as it is, or nothing because Kafka is away.

| what Kafka or its client says                      | what follows                                                |
|----------------------------------------------------|-------------------------------------------------------------|
| a partition and an offset                          | sent                                                        |
| no such topic, no right to it, larger than we send | refused: this row cannot be sent, others can                |
| too large or invalid, said of a whole batch        | all up to there are sent one by one, to find out which it is |
| anything else                                      | Kafka is away or refuses everything: all is sent again      |
"""

from dataclasses import dataclass, field

from confluent_kafka import KafkaError

UNKNOWN_TOPIC = "UNKNOWN_TOPIC_OR_PART"
NO_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
SAID_OF_ONE = (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_EXCEPTION)
SAID_OF_A_BATCH = (
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNSUPPORTED_FOR_MESSAGE_FORMAT,
)
NOT_TRIED = (
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._FATAL,
    KafkaError._GAPLESS_GUARANTEE,
)
"""Another row ended the producer."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    id: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that cannot be sent as it is."""

    id: int
    topic: str
    key: bytes | None
    error_type: str
    error_message: str


@dataclass(frozen=True, slots=True)
class Sent:
    id: int
    partition: int
    offset: int


@dataclass
class Outcome:
    """What became of a batch. A row that is neither sent nor refused is sent again."""

    sent: list[Sent] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    suspects: set[int] = field(default_factory=set)
    """Rows of a batch that Kafka refused as a whole."""
    failure: str | None = None
    """What went wrong that is not about a row."""
    _refused_keys: set[tuple[str, bytes | None]] = field(default_factory=set)

    @property
    def is_good_so_far(self) -> bool:
        return self.failure is None and not self.suspects

    def must_wait(self, row: Outgoing) -> bool:
        """Whether an earlier row of the same topic and key was refused."""
        return (row.topic, row.key) in self._refused_keys

    def refuse(self, row: Refused) -> None:
        self.refused.append(row)
        if has_order(row.topic, row.key):
            self._refused_keys.add((row.topic, row.key))

    def note(self, row: Outgoing, error: KafkaError, is_alone: bool) -> None:
        """Takes in an error that was reported for a row, which was the only one in its batch if `is_alone`."""
        code = error.code()
        if code in NO_TOPIC:
            self.refuse(refused(row, UNKNOWN_TOPIC, f"Kafka has no topic {row.topic}"))
        elif code in SAID_OF_ONE or (is_alone and code in SAID_OF_A_BATCH):
            self.refuse(refused(row, error.name(), error.str()))
        elif code in SAID_OF_A_BATCH:
            self.suspects.add(row.id)
        elif code not in NOT_TRIED and self.failure is None:
            self.failure = f"{error.name()} for topic {row.topic}: {error.str()}"


def refused(row: Outgoing, error_type: str, error_message: str) -> Refused:
    return Refused(row.id, row.topic, row.key, error_type, error_message)


def has_order(topic: str, key: bytes | None) -> bool:
    """Events of one key keep their order; dead letters, and messages without a key, have none."""
    return key is not None and not topic.endswith(".dlq")
