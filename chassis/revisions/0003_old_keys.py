"""Old idempotency keys are found without reading all of them."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index(
        "idempotency_keys_created_at", "idempotency_keys", ["created_at"], postgresql_using="brin"
    )
