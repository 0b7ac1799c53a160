"""Tables of ${name}; the primary keys make each row unique."""

from sqlalchemy import Column, MetaData, Table
${imports("sqlalchemy.types", types)}

metadata = MetaData()
% for row in rows:

${row.table} = Table(
    "${row.table}",
    metadata,
% for column, type in row.columns.items():
    Column("${column}", ${type}, ${"primary_key=True" if column == row.key else "nullable=False"}),
% endfor
    Column("occurred_at", DateTime(timezone=True), nullable=False),
)
% endfor
