"""The contract of StockReleased, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservedLine:
    """One product and the number of units held for the order."""

    product_id: str
    """The product held."""
    quantity: Int32
    """Units held, at least 1."""

    def to_record(self) -> dict[str, Any]:
        return {
            "product_id": self.product_id,
            "quantity": int32(self.quantity),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            product_id=record["product_id"],
            quantity=int32(record["quantity"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StockReleased(Event):
    """What was held for a cancelled order is available again."""

    NAME = "StockReleased"
    TOPIC = "inventory"
    KEY = "order_id"
    VERSION_FIELD = "reservation_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    reservation_version: Int32
    """The reservation's version: 2, after it was reserved."""
    lines: tuple[ReservedLine, ...]
    """What was held, one line per product."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: that of the later of reservation and cancellation."""

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
