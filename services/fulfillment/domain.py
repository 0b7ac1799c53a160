"""Derives a parcel's label from its order id, so that the same order always gets the same label."""

from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5


@dataclass(frozen=True)
class Label:
    shipment_id: str
    tracking_code: str


def label(order_id: str) -> Label:
    shipment_id = uuid5(NAMESPACE_OID, f"shipment of {order_id}")
    return Label(str(shipment_id), f"FAN-{shipment_id.hex[:12].upper()}")
