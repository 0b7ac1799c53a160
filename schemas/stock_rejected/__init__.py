"""The contract of StockRejected, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortage:
    """One product of which too little was available."""

    product_id: str
    """The product that ran out."""
    requested: Int32
    """Units the order asked for."""
    available: Int32
    """Units that were available."""

    def to_record(self) -> dict[str, Any]:
        return {
            "product_id": self.product_id,
            "requested": int32(self.requested),
            "available": int32(self.available),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            product_id=record["product_id"],
            requested=int32(record["requested"]),
            available=int32(record["available"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StockRejected(Event):
    """An order asked for more than there is; nothing is held for it."""

    NAME = "StockRejected"
    TOPIC = "inventory"
    KEY = "order_id"
    VERSION_FIELD = "reservation_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    reservation_version: Int32
    """The reservation's version: 1, its first fact."""
    shortages: tuple[Shortage, ...]
    """The products that were short, at least one."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: when the order was placed."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "reservation_version": int32(self.reservation_version),
            "shortages": [item.to_record() for item in self.shortages],
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            reservation_version=int32(record["reservation_version"]),
            shortages=tuple([Shortage.from_record(item) for item in record["shortages"]]),
            occurred_at=int64(record["occurred_at"]),
        )
