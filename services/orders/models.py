"""Requests and responses of the orders API; requests are validated as far as the database is not needed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from services.orders.domain import Payment, Reason, Status, Stock

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SECRET: dict[str, JsonValue] = {"format": "password", "writeOnly": True}
"""Makes a page of the API hide the value as it is typed, and says that no answer contains it."""


class NewLine(BaseModel):
    model_config = ConfigDict(extra="forbid")
    product_id: Name
    quantity: int = Field(ge=1, le=1000, strict=True)


class NewOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    payment_method: Literal["card", "invoice"]
    card_token: Name | None = Field(default=None, validate_default=True, repr=False, json_schema_extra=SECRET)
    lines: list[NewLine] = Field(min_length=1, max_length=50)

    @field_validator("card_token")
    @classmethod
    def fits_the_payment_method(cls, token: str | None, order: ValidationInfo) -> str | None:
        if order.data.get("payment_method") == "card" and token is None:
            raise PydanticCustomError("card_token", "a card payment needs the token of a card")
        if order.data.get("payment_method") == "invoice" and token is not None:
            raise PydanticCustomError("card_token", "an invoice has no card")
        return token

    @field_validator("lines")
    @classmethod
    def names_each_product_once(cls, lines: list[NewLine]) -> list[NewLine]:
        if len({line.product_id for line in lines}) < len(lines):
            raise PydanticCustomError("lines", "a product may be named once; add up its quantity")
        return lines


NEW_ORDERS: dict[str, dict[str, Any]] = {
    "by card, which is charged at once": {
        "currency": "EUR",
        "payment_method": "card",
        "card_token": "tok_visa",
        "lines": [{"product_id": "mug", "quantity": 2}, {"product_id": "pencil", "quantity": 3}],
    },
    "by invoice, to be paid with POST /payments": {
        "currency": "EUR",
        "payment_method": "invoice",
        "lines": [{"product_id": "mug", "quantity": 1}],
    },
    "by a card that is declined: accepted, and cancelled soon after": {
        "currency": "EUR",
        "payment_method": "card",
        "card_token": "tok_declined",
        "lines": [{"product_id": "mug", "quantity": 1}],
    },
}
"""Bodies that work as they are, for the page of the API."""


class LineResponse(BaseModel):
    product_id: str
    quantity: int
    unit_price_cents: int


class OrderResponse(BaseModel):
    order_id: str
    status: Status
    version: int
    customer_id: str
    currency: str
    total_cents: int
    payment_method: str
    payment: Payment
    stock: Stock
    cancel_reason: Reason | None
    fraud_score: int | None = None
    flagged: bool | None = None
    placed_at: datetime
    payment_at: datetime | None
    stock_at: datetime | None
    decided_at: datetime | None
    shipped_at: datetime | None
    lines: list[LineResponse]


class OrderPageResponse(BaseModel):
    orders: list[OrderResponse]
    next_before: str | None


class ProductResponse(BaseModel):
    product_id: str
    name: str
    price_cents: int
    currency: str
