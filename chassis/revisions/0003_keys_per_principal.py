"""Makes an Idempotency-Key its sender's own: the same key of two principals is two keys.

An answer that names its customer is that customer's from now on, so that the key of an order is not used for a second
one. Whose the others are is unknown: nobody is answered with them, and they are purged at their age.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("idempotency_keys", sa.Column("principal", sa.Text, nullable=False, server_default=""))
    op.execute("""
        UPDATE idempotency_keys
        SET principal = 'customer:' || (convert_from(body, 'UTF8')::json ->> 'customer_id')
        WHERE convert_from(body, 'UTF8')::json ->> 'customer_id' IS NOT NULL
    """)
    op.drop_constraint("idempotency_keys_pkey", "idempotency_keys")
    op.create_primary_key("idempotency_keys_pkey", "idempotency_keys", ["principal", "key"])
