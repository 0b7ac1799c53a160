"""What goes out over HTTP: figures."""

from datetime import datetime

from pydantic import BaseModel


class Minute(BaseModel):
    minute: datetime
    currency: str
    orders: int
    revenue_cents: int


class Product(BaseModel):
    product_id: str
    currency: str
    units: int
    revenue_cents: int


class Sales(BaseModel):
    since: datetime
    until: datetime | None
    minutes: list[Minute]
    top_products: list[Product]


class Funnel(BaseModel):
    since: datetime
    until: datetime | None
    placed: int
    paid: int
    declined: int
    confirmed: int
    shipped: int
    cancelled: int
