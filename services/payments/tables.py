"""Tables of payments, and the statements that open, lock and save a payment's row."""

from dataclasses import fields

from sqlalchemy import Column, Identity, Index, MetaData, Table, any_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import BigInteger, DateTime, Text

from chassis.database import Statement, arrays, ids, insert_rows
from services.payments.domain import Payment

metadata = MetaData()

payments = Table(
    "payments",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("payment_id", Text, nullable=False, index=True),
    Column("customer_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    # These are null while only the order's cancellation has arrived.
    Column("payment_method", Text),
    Column("amount_cents", BigInteger),
    Column("currency", Text),
    Column("decline_reason", Text),
)

movements = Table(
    "movements",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False),
    Index("movements_order_id", "order_id"),
)

COLUMNS = [field.name for field in fields(Payment)]
TERMS = ("payment_method", "amount_cents", "currency")

_requested = arrays(payments, *COLUMNS)
_open = upsert(payments).from_select(COLUMNS, select(_requested))
OPEN_PAYMENTS = Statement(
    _open.on_conflict_do_update(
        index_elements=["order_id"],
        set_={name: _open.excluded[name] for name in TERMS},
        where=payments.c.payment_method.is_(None),
    ).returning(payments.c.order_id, payments.c.status)
)
"""Inserts payments. A payment voided before its order arrived gets its terms and stays voided."""

_recover = upsert(payments).from_select(COLUMNS, select(_requested))
RECOVER_PAYMENTS = Statement(
    _recover.on_conflict_do_update(
        index_elements=["order_id"],
        set_={name: _recover.excluded[name] for name in COLUMNS if name != "order_id"},
    )
)
"""Stores payments as their outcome says, whatever an older backup says of them."""

_void = arrays(payments, "order_id", "payment_id", "customer_id", "status", "changed_at")
VOID_UNKNOWN_ORDERS = Statement(
    upsert(payments).from_select(_void.c.keys(), select(_void)).on_conflict_do_nothing()
)
LOCK_PAYMENTS = Statement(
    select(*(payments.c[name] for name in COLUMNS))
    .where(payments.c.order_id == any_(ids()), payments.c.payment_method.is_not(None))
    .order_by(payments.c.order_id)
    .with_for_update()
)
_changed = arrays(payments, "order_id", "status", "changed_at")
SAVE_PAYMENTS = Statement(
    update(payments)
    .where(payments.c.order_id == _changed.c.order_id)
    .values(status=_changed.c.status, changed_at=_changed.c.changed_at)
)
INSERT_MOVEMENTS = insert_rows(movements, "order_id", "kind", "amount_cents", "moved_at")
