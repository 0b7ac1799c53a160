"""Takes payments: stores each, tells every listener over HTTP, and then answers. This is the synchronous way.

Run it with `uvicorn examples.synchronous.payments:app`; `Settings` says what it needs in the environment.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings

from examples.synchronous.listeners import Listeners, NotTold

SCHEMA = Path(__file__).with_name("schema.sql")
CONNECTIONS = 10
DATABASE_SECONDS = 5.0

log = logging.getLogger("uvicorn.error")


class Settings(BaseSettings):
    """`LISTENERS` is a JSON list of URLs. `IF_NOT_TOLD` decides what a payment is worth whose listener failed."""

    database_url: str
    listeners: list[str]
    listener_seconds: float = 2.0
    if_not_told: Literal["refuse", "log"] = "refuse"


class NewPayment(BaseModel):
    model_config = ConfigDict(extra="forbid")
    order_id: str = Field(min_length=1, max_length=64)
    customer_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    amount_cents: int = Field(gt=0, lt=10**12, strict=True)
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class Payment(NewPayment):
    payment_id: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = Settings()
    listeners = Listeners(settings.listeners, settings.listener_seconds)
    async with (
        asyncpg.create_pool(
            settings.database_url, min_size=2, max_size=CONNECTIONS, command_timeout=DATABASE_SECONDS
        ) as database,
        listeners,
    ):
        await database.execute(SCHEMA.read_text())
        app.state.payments = Payments(database, listeners, settings.if_not_told)
        yield


class Payments:
    """What a request needs: the table, the listeners, and what to do if one of them cannot be told."""

    def __init__(self, database: Any, listeners: Listeners, if_not_told: Literal["refuse", "log"]) -> None:
        self._database, self._listeners, self._if_not_told = database, listeners, if_not_told

    async def take(self, new: NewPayment) -> Payment:
        """Stores the payment, or finds it if it was taken before, and tells the listeners unless they know it.

        No transaction is open while listeners are called. Raises HTTPException.
        """
        row = await self._database.fetchrow(INSERT, *new.model_dump().values())
        row = row or await self._database.fetchrow(SELECT, new.order_id)
        payment = Payment(
            payment_id=str(row["payment_id"]), **{name: row[name] for name in type(new).model_fields}
        )
        if NewPayment(**payment.model_dump(exclude={"payment_id"})) != new:
            raise HTTPException(409, f"order {new.order_id} was paid with other terms")
        if row["told_at"] is None:
            await self._tell(payment)
        return payment

    async def is_up(self) -> bool:
        return bool(await self._database.fetchval("SELECT true"))

    async def _tell(self, payment: Payment) -> None:
        try:
            await self._listeners.tell(payment.payment_id, payment.model_dump())
        except NotTold as error:
            if self._if_not_told == "log":
                log.error("payment %s: %s", payment.payment_id, error)
                return
            detail = f"the payment is stored, but {error}: repeat the request"
            raise HTTPException(503, detail, headers={"Retry-After": "1"}) from error
        await self._database.execute(MARK_TOLD, payment.order_id)


INSERT = """
    INSERT INTO payments (order_id, customer_id, amount_cents, currency) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING *
"""
SELECT = "SELECT * FROM payments WHERE order_id = $1"
MARK_TOLD = "UPDATE payments SET told_at = now() WHERE order_id = $1"


def of_app(request: Request) -> Payments:
    payments: Payments = request.app.state.payments
    return payments


app = FastAPI(title="Payments, synchronous", lifespan=lifespan)
Taken = Annotated[Payments, Depends(of_app)]


@app.post("/payments", status_code=201)
async def pay(new: NewPayment, payments: Taken) -> Payment:
    """Takes the payment of an order once, however often it is sent; 503 means that a listener was not told."""
    return await payments.take(new)


@app.get("/health")
async def health(payments: Taken) -> bool:
    return await payments.is_up()
