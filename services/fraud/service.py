"""Fraud scores every placed order and says what it found. It never stops an order by itself."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Column, Index, Table, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import ARRAY, Boolean, DateTime, Integer, Text

from chassis.outbox import publish
from chassis.service import Service
from schemas import FraudAssessed, OrderPlaced
from services.fraud.domain import MANY_ORDERS, WINDOW, Verdict, judge

fraud = Service("fraud", topic="fraud")

sightings = Table(
    "sightings",
    fraud.metadata,
    Column("order_id", Text, primary_key=True),
    Column("customer_id", Text, nullable=False),
    Column("placed_at", DateTime(timezone=True), nullable=False),
    Index("sightings_by_customer", "customer_id", "placed_at", "order_id"),
)

assessments = Table(
    "assessments",
    fraud.metadata,
    Column("order_id", Text, primary_key=True),
    Column("score", Integer, nullable=False),
    Column("suspicious", Boolean, nullable=False),
    Column("rules", ARRAY(Text), nullable=False),
)


@fraud.on(OrderPlaced)
async def assess(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """One assessment per order, from what the customer did in the ten minutes before it (event time)."""
    rows = [{"order_id": o.order_id, "customer_id": o.customer_id, "placed_at": o.time} for o in orders]
    await db.execute(insert(sightings), rows)
    recent = await orders_in_window(db, orders)
    verdicts = [judge(order.order_id, order.total_cents, recent[order.order_id]) for order in orders]
    await db.execute(insert(assessments), [asdict(verdict) for verdict in verdicts])
    await publish(db, [assessed(order, verdict) for order, verdict in zip(orders, verdicts, strict=True)])


async def orders_in_window(db: AsyncConnection, orders: Sequence[OrderPlaced]) -> dict[str, int]:
    """For each order, how many its customer placed in the window before it; it stops counting where the rule does."""
    this, other = sightings.alias("this"), sightings.alias("other")
    earlier = (
        select(other.c.order_id)
        .where(other.c.customer_id == this.c.customer_id, other.c.placed_at >= this.c.placed_at - WINDOW)
        .where(tuple_(other.c.placed_at, other.c.order_id) < tuple_(this.c.placed_at, this.c.order_id))
        .limit(MANY_ORDERS)
        .correlate(this)
        .subquery()
    )
    counted = select(this.c.order_id, select(func.count()).select_from(earlier).scalar_subquery())
    rows = await db.execute(counted.where(this.c.order_id.in_([order.order_id for order in orders])))
    return dict(rows.all())


def assessed(order: OrderPlaced, verdict: Verdict) -> FraudAssessed:
    return FraudAssessed(
        order_id=order.order_id,
        assessment_version=1,
        score=verdict.score,
        suspicious=verdict.suspicious,
        rules=verdict.rules,
        occurred_at=order.occurred_at,
    )
