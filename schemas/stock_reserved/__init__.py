"""The contract of StockReserved, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64
from schemas.stock_released import ReservedLine


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReserved(Event):
    """Every line of an order is held for it."""

    NAME = "StockReserved"
    TOPIC = "inventory"
    KEY = "order_id"
    VERSION_FIELD = "reservation_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    reservation_version: Int32
    """The reservation's version: 1, its first fact."""
    lines: tuple[ReservedLine, ...]
    """What is held, one line per product."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: when the order was placed."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "reservation_version": int32(self.reservation_version),
            "lines": [item.to_record() for item in self.lines],
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            reservation_version=int32(record["reservation_version"]),
            lines=tuple([ReservedLine.from_record(item) for item in record["lines"]]),
            occurred_at=int64(record["occurred_at"]),
        )
