"""Notifications writes a message for each thing a customer should hear of: one row, one e-mail to send."""

from collections.abc import Sequence

from sqlalchemy import Column, Identity, Index, Table, func, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger, DateTime, Integer, Text

from chassis.service import Service
from schemas import OrderCancelled, OrderPlaced, OrderShipped, PaymentProcessed
from services.notifications.domain import authorized, cancelled, declined, placed, shipped
from services.notifications.sender import send

notifications = Service("notifications", gather_ms=500)
notifications.alongside(send)

messages = Table(
    "messages",
    notifications.metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("message_id", Text, nullable=False, server_default=text("gen_random_uuid()::text")),
    Column("next_try_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("sent_at", DateTime(timezone=True)),
    Column("refused_at", DateTime(timezone=True)),
    Column("last_error", Text),
    Index("messages_order_id", "order_id"),  # not unique: a message written twice must be seen, not swallowed
    Index("messages_to_send", "id", postgresql_where=text("sent_at IS NULL AND refused_at IS NULL")),
)

News = OrderPlaced | PaymentProcessed | OrderCancelled | OrderShipped


@notifications.on(OrderPlaced)
async def thank(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    await write(db, "order_placed", [(o, placed(o.order_id, o.total_cents, o.currency)) for o in orders])


@notifications.on(PaymentProcessed)
async def report_payment(payments: Sequence[PaymentProcessed], db: AsyncConnection) -> None:
    accepted = [p for p in payments if p.outcome == "authorized"]
    refused = [p for p in payments if p.outcome == "declined"]
    await write(
        db, "payment_authorized", [(p, authorized(p.order_id, p.amount_cents, p.currency)) for p in accepted]
    )
    await write(db, "payment_declined", [(p, declined(p.order_id, p.decline_reason)) for p in refused])


@notifications.on(OrderCancelled)
async def report_cancellation(orders: Sequence[OrderCancelled], db: AsyncConnection) -> None:
    await write(db, "order_cancelled", [(o, cancelled(o.order_id, o.reason)) for o in orders])


@notifications.on(OrderShipped)
async def report_shipment(orders: Sequence[OrderShipped], db: AsyncConnection) -> None:
    await write(db, "order_shipped", [(o, shipped(o.order_id, o.tracking_code)) for o in orders])


async def write(db: AsyncConnection, kind: str, letters: Sequence[tuple[News, str]]) -> None:
    if letters:
        await db.execute(insert(messages), [message(kind, news, body) for news, body in letters])


def message(kind: str, news: News, body: str) -> dict[str, object]:
    return {
        "order_id": news.order_id,
        "customer_id": news.customer_id,
        "kind": kind,
        "body": body,
        "created_at": news.time,
    }
