"""Responses of the analytics API."""

from datetime import datetime

from pydantic import BaseModel


class MinuteResponse(BaseModel):
    minute: datetime
    currency: str
    orders: int
    revenue_cents: int


class ProductResponse(BaseModel):
    product_id: str
    currency: str
    units: int
    revenue_cents: int


class SalesResponse(BaseModel):
    since: datetime
    until: datetime | None
    minutes: list[MinuteResponse]
    top_products: list[ProductResponse]


class FunnelResponse(BaseModel):
    since: datetime
    until: datetime | None
    placed: int
    paid: int
    declined: int
    confirmed: int
    shipped: int
    cancelled: int
