"""HTTP API of ${name}: what it has stored, for operators."""

from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import Select, Table, select

from chassis.http.app import Db, create_api
from chassis.http.auth import Operator
${imports(f"services.{name}.models", responses)}
from services.${name}.service import service
${imports(f"services.{name}.tables", tables)}

app = create_api(service)

Limit = Annotated[int, Query(ge=1, le=100)]
% for row in rows:


@app.get("/${row.path}")
async def show_${row.table}(
    operator: Operator,
    db: Db,
    limit: Limit = 20,
) -> list[${row.response}]:
    """Returns the last rows in the order of their ids."""
    rows = await db.execute(last(${row.table}, limit))
    return [${row.response}.model_validate(row) for row in rows.mappings()]
% endfor


def last(table: Table, limit: int) -> Select[Any]:
    return select(table).order_by(*(column.desc() for column in table.primary_key)).limit(limit)
