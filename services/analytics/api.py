"""HTTP API of analytics: sales, and the progress of orders, from `since` to before `until`, at most a day.

Both are times of events, not of their processing. Default: the last day; `since` alone means the day from then on.
"""

from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import Depends, Query
from sqlalchemy import Column, ColumnElement, Select, func, literal_column, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api
from chassis.http.auth import Operator
from chassis.timestamps import Timestamp, now
from services.analytics.models import FunnelResponse, MinuteResponse, ProductResponse, SalesResponse
from services.analytics.service import service
from services.analytics.tables import order_lines, sales, steps

app = create_api(
    service,
    "Says what was sold and how far orders come, from tables that a replay of the events can fill again.",
    {
        "read models": "Figures of a time of events, by default of the last day. They need an operator's token."
    },
)

LONGEST_SPAN = timedelta(days=1)
"""What one request may ask for: 1,440 minutes, and at 100,000 orders a day so many sales to add up."""


class Span(NamedTuple):
    since: datetime
    until: datetime | None

    def contains(self, at: Column[datetime]) -> ColumnElement[bool]:
        return at >= self.since if self.until is None else (at >= self.since) & (at < self.until)


async def span_of_query(since: Timestamp | None = None, until: Timestamp | None = None) -> Span:
    """Returns at most a day. `until` is None if that day has not ended yet."""
    if since is None:
        return Span((until or now()) - LONGEST_SPAN, until)
    if until is None:
        return Span(since, since + LONGEST_SPAN if since + LONGEST_SPAN < now() else None)
    if until <= since:
        raise Problem.of_field("until", "must be later than since")
    if until - since > LONGEST_SPAN:
        raise Problem.of_field("until", "must be at most one day after since: ask for each day by itself")
    return Span(since, until)


SpanOfQuery = Annotated[Span, Depends(span_of_query)]


@app.get("/sales", tags=["read models"], summary="Show what was sold")
async def show_sales(
    operator: Operator, span: SpanOfQuery, db: Db, top: Annotated[int, Query(ge=1, le=100)] = 10
) -> SalesResponse:
    """Returns the confirmed orders per minute of their confirmation, and the products with most units sold.

    At most one day; the next one: `since` = `until` of this one, which is null while that day lasts.
    """
    minutes = await db.execute(per_minute(span))
    products = await db.execute(per_product(span).limit(top))
    return SalesResponse(
        **span._asdict(),
        minutes=[MinuteResponse.model_validate(row) for row in minutes.mappings()],
        top_products=[ProductResponse.model_validate(row) for row in products.mappings()],
    )


@app.get("/funnel", tags=["read models"], summary="Show how far orders have come")
async def show_funnel(operator: Operator, span: SpanOfQuery, db: Db) -> FunnelResponse:
    """Returns how many of the orders placed in that time, at most one day, have reached each step by now."""
    return FunnelResponse(**span._asdict(), **await reached(span, db))


def per_minute(span: Span) -> Select[tuple[datetime, str, int, int]]:
    minute = func.date_trunc(literal_column("'minute'"), sales.c.at)
    figures = func.count().label("orders"), func.sum(sales.c.revenue_cents).label("revenue_cents")
    counted = select(minute.label("minute"), sales.c.currency, *figures).where(span.contains(sales.c.at))
    return counted.group_by(minute, sales.c.currency).order_by(minute, sales.c.currency)


def per_product(span: Span) -> Select[tuple[str, str, int, int]]:
    of_sale = select(order_lines).where(order_lines.c.order_id == sales.c.order_id)
    lines = of_sale.offset(0).lateral(
        "lines"
    )  # OFFSET: looked up by order, however many the table has of other days
    line, units = lines.c, func.sum(lines.c.units)
    figures = units.label("units"), func.sum(line.revenue_cents).label("revenue_cents")
    sold = select(line.product_id, sales.c.currency, *figures).select_from(sales).join(lines, true())
    each = sold.where(span.contains(sales.c.at)).group_by(line.product_id, sales.c.currency)
    return each.order_by(units.desc(), line.product_id, sales.c.currency)


async def reached(span: Span, db: AsyncConnection) -> dict[str, int]:
    begun = steps.alias("begun")
    of_these = steps.join(begun, (begun.c.order_id == steps.c.order_id) & (begun.c.step == "placed"))
    counted = select(steps.c.step, func.count()).select_from(of_these).where(span.contains(begun.c.at))
    found: dict[str, int] = dict((await db.execute(counted.group_by(steps.c.step))).all())
    return {name: found.get(name, 0) for name in FunnelResponse.model_fields.keys() - Span._fields}
