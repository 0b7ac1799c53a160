"""What goes on a parcel's label: ids that are the same for the same order, whenever they are asked for."""

from dataclasses import dataclass
from uuid import NAMESPACE_OID, uuid5


@dataclass(frozen=True)
class Label:
    shipment_id: str
    tracking_code: str


def label(order_id: str) -> Label:
    shipment_id = uuid5(NAMESPACE_OID, f"shipment of {order_id}")
    return Label(str(shipment_id), f"FAN-{shipment_id.hex[:12].upper()}")
