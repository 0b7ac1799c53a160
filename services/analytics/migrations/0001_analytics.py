"""Creates the tables of analytics."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

STEPS = "step IN ('placed', 'paid', 'declined', 'confirmed', 'shipped', 'cancelled')"


def upgrade() -> None:
    op.create_table(
        "steps",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("step", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(STEPS, name="step_is_known"),
    )
    op.create_index("steps_by_time", "steps", ["step", "at"])
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("units", sa.Integer, nullable=False),
        sa.Column("revenue_cents", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "sales",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("revenue_cents", sa.BigInteger, nullable=False),
    )
    op.create_index("sales_by_time", "sales", ["at"])
