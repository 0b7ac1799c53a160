"""What a sender must know of each message: its Message-ID, when to try next, and what became of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

OPEN = sa.text("sent_at IS NULL AND refused_at IS NULL")


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    for column in (
        sa.Column("message_id", sa.Text, nullable=False, server_default=sa.text("gen_random_uuid()::text")),
        sa.Column("next_try_at", moment, nullable=False, server_default=sa.func.now()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("sent_at", moment),
        sa.Column("refused_at", moment),
        sa.Column("last_error", sa.Text),
    ):
        op.add_column("messages", column)
    op.create_index("messages_to_send", "messages", ["id"], postgresql_where=OPEN)
