"""Scores every placed order for fraud and publishes the score. It never stops an order by itself."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Row, all_, bindparam, func, insert, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.publish import publish
from chassis.service import Service
from chassis.timestamps import milliseconds
from schemas import FraudAssessed, OrderPlaced
from services.fraud.domain import MANY_ORDERS, WINDOW, Verdict, judge, revise
from services.fraud.tables import RETENTION, STORE_ORDERS, assessments, metadata, orders_seen

service = Service("fraud", metadata, topic="fraud", gather_ms=250, retention=[RETENTION])


@service.on(OrderPlaced)
async def assess(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None:
    """Scores each order by its amount and by its customer's orders of the ten minutes before it (event time).

    Orders of one customer arrive from several partitions, concurrently and in any order. Transactions with the same
    customer wait for each other, and an order that arrives late revises the verdicts on orders placed after it.
    """
    await store(db, orders)
    found = await affected(db, orders)
    verdicts = [judge(order.order_id, order.total_cents, found[order.order_id].recent) for order in orders]
    await db.execute(insert(assessments), [asdict(verdict) for verdict in verdicts])
    first = [assessed(verdict, order.time, 1) for order, verdict in zip(orders, verdicts, strict=True)]
    revised = await revise_earlier_verdicts(db, [row for row in found.values() if row.rules is not None])
    await publish(db, [*first, *revised])


async def store(db: AsyncConnection, orders: Sequence[OrderPlaced]) -> None:
    """Stores the orders and locks their customers until the transaction ends."""
    columns = {
        "customers": sorted({order.customer_id for order in orders}),
        "order_ids": [order.order_id for order in orders],
        "customer_ids": [order.customer_id for order in orders],
        "placed_at": [order.time for order in orders],
    }
    await db.execute(STORE_ORDERS, columns)


async def affected(db: AsyncConnection, orders: Sequence[OrderPlaced]) -> dict[str, Row[Any]]:
    """Returns, by order id, these orders and the assessed orders that they may make suspicious.

    Column `recent` is the number of orders of the same customer in the WINDOW before, at most MANY_ORDERS.
    """
    batch = orders_seen.c.order_id.in_([order.order_id for order in orders])
    first, last = func.min(orders_seen.c.placed_at), func.max(orders_seen.c.placed_at)
    batch_spans = select(orders_seen.c.customer_id, first.label("first"), last.label("last")).where(batch)
    span = batch_spans.group_by(orders_seen.c.customer_id).subquery()
    this, other = orders_seen.alias("this"), orders_seen.alias("other")
    earlier = (
        select(other.c.order_id)
        .where(other.c.customer_id == this.c.customer_id, other.c.placed_at >= this.c.placed_at - WINDOW)
        .where(tuple_(other.c.placed_at, other.c.order_id) < tuple_(this.c.placed_at, this.c.order_id))
        .limit(MANY_ORDERS)
        .correlate(this)
        .subquery()
    )
    recent = select(func.count()).select_from(earlier).scalar_subquery().label("recent")
    assessment_columns = [column for column in assessments.c if column.name != "order_id"]
    may_gain_many_orders = assessments.c.order_id.is_(None) | (
        literal("many_orders") != all_(assessments.c.rules)
    )
    rows = await db.execute(
        select(this.c.order_id, this.c.placed_at, recent, *assessment_columns)
        .join(span, span.c.customer_id == this.c.customer_id)
        .outerjoin(assessments, assessments.c.order_id == this.c.order_id)
        .where(this.c.placed_at.between(span.c.first, span.c.last + WINDOW), may_gain_many_orders)
        .order_by(this.c.order_id)
    )
    return {row.order_id: row for row in rows}


async def revise_earlier_verdicts(db: AsyncConnection, rows: Iterable[Row[Any]]) -> list[FraudAssessed]:
    """Saves the verdicts that changed, each as the next version of its assessment, and returns their events."""
    changed = []
    for row in rows:
        before = Verdict(row.order_id, row.score, row.suspicious, tuple(row.rules))
        if (after := revise(before, row.recent)) != before:
            changed.append((after, row.placed_at, row.assessment_version + 1))
    if changed:
        values = [
            {"id": verdict.order_id, **asdict(verdict), "assessment_version": version}
            for verdict, _, version in changed
        ]
        await db.execute(update(assessments).where(assessments.c.order_id == bindparam("id")), values)
    return [assessed(*each) for each in changed]


def assessed(verdict: Verdict, placed_at: datetime, version: int) -> FraudAssessed:
    return FraudAssessed(
        order_id=verdict.order_id,
        assessment_version=version,
        score=verdict.score,
        suspicious=verdict.suspicious,
        rules=verdict.rules,
        occurred_at=milliseconds(placed_at),
    )
