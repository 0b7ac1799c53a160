"""Reads orders as the HTTP API returns them."""

from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.orders.models import LineResponse, OrderResponse
from services.orders.tables import order_lines


async def read(db: AsyncConnection, wanted: Select[Any]) -> list[OrderResponse]:
    """Returns the selected orders with their lines."""
    rows = (await db.execute(wanted)).mappings().all()
    of_these = select(order_lines).where(order_lines.c.order_id.in_([row["order_id"] for row in rows]))
    lines: dict[str, list[LineResponse]] = {row["order_id"]: [] for row in rows}
    for line in (await db.execute(of_these.order_by(order_lines.c.product_id))).mappings():
        lines[line["order_id"]].append(LineResponse.model_validate(line))
    return [OrderResponse.model_validate({**row, "lines": lines[row["order_id"]]}) for row in rows]
