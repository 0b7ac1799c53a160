"""The contract of FraudAssessed, generated from v2.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class FraudAssessed(Event):
    """An order was scored for fraud. A verdict for people to read: it stops nothing."""

    NAME = "FraudAssessed"
    TOPIC = "fraud"
    KEY = "order_id"
    VERSION_FIELD = "assessment_version"
    SCHEMA_VERSION = 2

    order_id: str
    """The order this fact is about; the message key."""
    assessment_version: Int32
    """The assessment's version: 1 is the first of an order, and each revision is one more."""
    score: Int32
    """From 0, harmless, to 100."""
    suspicious: bool
    """Whether a person should look at the order."""
    rules: tuple[str, ...]
    """Names of the rules that raised the score; empty when none did."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: when the order was placed."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "assessment_version": int32(self.assessment_version),
            "score": int32(self.score),
            "suspicious": self.suspicious,
            "rules": list(self.rules),
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            assessment_version=int32(record["assessment_version"]),
            score=int32(record["score"]),
            suspicious=record["suspicious"],
            rules=tuple(record["rules"]),
            occurred_at=int64(record["occurred_at"]),
        )
