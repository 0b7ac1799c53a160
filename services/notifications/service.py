"""Writes one message for each event that a customer should know of; the sender delivers it as an e-mail."""

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
from schemas import OrderCancelled, OrderPlaced, OrderShipped, PaymentProcessed
from services.notifications.domain import authorized, cancelled, declined, message_id, placed, shipped
from services.notifications.sender import send
from services.notifications.tables import RETENTION, messages, metadata

service = Service("notifications", metadata, gather_ms=500, retention=[RETENTION])
service.in_background(send)

AnEvent = OrderPlaced | PaymentProcessed | OrderCancelled | OrderShipped


@service.on(OrderPlaced)
async def thank(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await write(db, "order_placed", [(o, placed(o.order_id, o.total_cents, o.currency)) for o in orders])


@service.on(PaymentProcessed)
async def report_payment(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    accepted = [p for p in payments if p.outcome == "authorized"]
    refused = [p for p in payments if p.outcome == "declined"]
    await write(
        db, "payment_authorized", [(p, authorized(p.order_id, p.amount_cents, p.currency)) for p in accepted]
    )
    await write(db, "payment_declined", [(p, declined(p.order_id, p.decline_reason)) for p in refused])


@service.on(OrderCancelled)
async def report_cancellation(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await write(db, "order_cancelled", [(o, cancelled(o.order_id, o.reason)) for o in orders])


@service.on(OrderShipped)
async def report_shipment(orders: Sequence[OrderShipped], db: AsyncConnection) -> None:
    await write(db, "order_shipped", [(o, shipped(o.order_id, o.tracking_code)) for o in orders])


async def write(db: AsyncConnection, kind: str, bodies: Sequence[tuple[AnEvent, str]]) -> None:
    if bodies:
        await db.execute(insert(messages), [message(kind, event, body) for event, body in bodies])


def message(kind: str, event: AnEvent, body: str) -> dict[str, object]:
    return {
        "order_id": event.order_id,
        "customer_id": event.customer_id,
        "kind": kind,
        "body": body,
        "created_at": event.time,
        "message_id": message_id(kind, event.order_id),
    }
