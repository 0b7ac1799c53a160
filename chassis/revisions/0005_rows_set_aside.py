"""Outbox rows that cannot be sent are set aside, and a frozen relay is replaced."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

REFUSED = sa.text("set_aside_at IS NOT NULL AND discarded_at IS NULL")
UNSENT = sa.text("published_at IS NULL AND set_aside_at IS NULL")


def upgrade() -> None:
    for name in ("set_aside_at", "discarded_at"):
        op.add_column("outbox", sa.Column(name, sa.DateTime(timezone=True)))
    for name in ("error_type", "error_message", "discarded_by", "discard_reason"):
        op.add_column("outbox", sa.Column(name, sa.Text))
    op.drop_index("outbox_unpublished", "outbox")
    op.create_index("outbox_unsent", "outbox", ["id"], postgresql_where=UNSENT)
    op.create_index("outbox_set_aside", "outbox", ["id"], postgresql_where=REFUSED)
    op.create_index(
        "outbox_set_aside_key", "outbox", ["key"], postgresql_where=REFUSED, postgresql_using="hash"
    )
    op.create_table(
        "relay_terms",
        sa.Column("term", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
    )
