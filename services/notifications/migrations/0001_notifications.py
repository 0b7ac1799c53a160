"""Creates the table of notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TO_SEND = sa.text("sent_at IS NULL AND refused_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.Text, nullable=False, server_default=sa.text("gen_random_uuid()::text")),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("refused_at", sa.DateTime(timezone=True)),
        sa.Column("last_error", sa.Text),
    )
    op.create_index("messages_order_id", "messages", ["order_id"])
    op.create_index("messages_to_send", "messages", ["id"], postgresql_where=TO_SEND)
