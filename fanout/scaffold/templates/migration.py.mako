"""Creates the tables of ${name}."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
% for row in rows:
    op.create_table(
        "${row.table}",
% for column, type in row.columns.items():
        sa.Column("${column}", sa.${type}, ${"primary_key=True" if column == row.key else "nullable=False"}),
% endfor
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
    )
% endfor
