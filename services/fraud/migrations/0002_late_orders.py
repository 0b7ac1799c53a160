"""A row to lock for each customer, and assessments that can be revised."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table("customers", sa.Column("customer_id", sa.Text, primary_key=True))
    op.add_column(
        "assessments", sa.Column("assessment_version", sa.Integer, nullable=False, server_default="1")
    )
