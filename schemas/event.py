"""The base class of all events: a key, the version of its aggregate, and the event time."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from schemas.numbers import Int64

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event(ABC):
    """A fact that a service publishes. The subclasses are generated from the .avsc files beside them."""

    NAME: ClassVar[str]
    TOPIC: ClassVar[str]
    KEY: ClassVar[str]
    VERSION_FIELD: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int]

    occurred_at: Int64

    @abstractmethod
    def to_record(self) -> dict[str, Any]: ...

    @classmethod
    @abstractmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self: ...

    @property
    def key(self) -> str:
        """Returns the Kafka key; events with the same key stay in order."""
        return str(getattr(self, self.KEY))

    @property
    def aggregate_version(self) -> int:
        """Returns the version of the aggregate that this event led to, counted from 1."""
        return int(getattr(self, self.VERSION_FIELD))

    @property
    def time(self) -> datetime:
        """Returns the event time, `occurred_at`, as a UTC datetime."""
        return EPOCH + timedelta(milliseconds=self.occurred_at)
