"""Every event as a Python type, generated from the .avsc files by `make schemas`. Do not edit."""

from schemas.event import Event
from schemas.fraud_assessed import FraudAssessed
from schemas.order_cancelled import CancelReason, OrderCancelled
from schemas.order_confirmed import OrderConfirmed
from schemas.order_placed import OrderLine, OrderPlaced, PaymentMethod
from schemas.order_shipped import OrderShipped
from schemas.payment_processed import PaymentOutcome, PaymentProcessed
from schemas.payment_refunded import PaymentRefunded
from schemas.stock_rejected import Shortage, StockRejected
from schemas.stock_released import ReservedLine, StockReleased
from schemas.stock_reserved import StockReserved

EVENTS: tuple[type[Event], ...] = (
    FraudAssessed,
    OrderCancelled,
    OrderConfirmed,
    OrderPlaced,
    OrderShipped,
    PaymentProcessed,
    PaymentRefunded,
    StockRejected,
    StockReleased,
    StockReserved,
)

__all__ = [
    "EVENTS",
    "CancelReason",
    "Event",
    "FraudAssessed",
    "OrderCancelled",
    "OrderConfirmed",
    "OrderLine",
    "OrderPlaced",
    "OrderShipped",
    "PaymentMethod",
    "PaymentOutcome",
    "PaymentProcessed",
    "PaymentRefunded",
    "ReservedLine",
    "Shortage",
    "StockRejected",
    "StockReleased",
    "StockReserved",
]
