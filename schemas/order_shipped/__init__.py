"""The contract of OrderShipped, generated from v1.avsc by `make schemas`. Do not edit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from schemas.event import Event
from schemas.numbers import Int32, Int64, int32, int64


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderShipped(Event):
    """A confirmed order has left the warehouse."""

    NAME = "OrderShipped"
    TOPIC = "shipments"
    KEY = "order_id"
    VERSION_FIELD = "shipment_version"
    SCHEMA_VERSION = 1

    order_id: str
    """The order this fact is about; the message key."""
    shipment_version: Int32
    """The shipment's version: 1, there is one per order."""
    shipment_id: str
    """The shipment."""
    customer_id: str
    """The customer who placed the order."""
    tracking_code: str
    """The code by which the carrier finds the parcel."""
    occurred_at: Int64
    """Milliseconds since 1970 UTC, event time: that of the order's confirmation."""

    def to_record(self) -> dict[str, Any]:
        return {
            "order_id": self.order_id,
            "shipment_version": int32(self.shipment_version),
            "shipment_id": self.shipment_id,
            "customer_id": self.customer_id,
            "tracking_code": self.tracking_code,
            "occurred_at": int64(self.occurred_at),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            order_id=record["order_id"],
            shipment_version=int32(record["shipment_version"]),
            shipment_id=record["shipment_id"],
            customer_id=record["customer_id"],
            tracking_code=record["tracking_code"],
            occurred_at=int64(record["occurred_at"]),
        )
