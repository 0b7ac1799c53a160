"""Which version of its fraud assessment an order shows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("orders", sa.Column("assessment_version", sa.Integer, nullable=False, server_default="0"))
