"""Rows as arrays: one statement, planned once, for any number of rows (`SELECT … FROM unnest($1, $2)`).

A list of values in a statement (`IN (…)`, `VALUES (…), (…)`) makes another statement for each length, which Postgres
has to plan again. Measured with batches of 500: 14,700 rows a second against 12,700.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, BindParameter, Table, Text, bindparam, column, func
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

PREFIX = "given_"
"""SQLAlchemy keeps a parameter of a column's own name for itself in INSERT and UPDATE."""


def arrays(table: Table, *names: str) -> TableValuedAlias:
    """Returns rows of these columns of the table, each column bound as an array; `as_arrays` makes the parameters."""
    types: Mapping[str, TypeEngine[Any]] = {name: table.c[name].type for name in names}
    bound = (bindparam(PREFIX + name, type_=ARRAY(type_)) for name, type_ in types.items())
    return (
        func.unnest(*bound)
        .table_valued(*(column(name, type_) for name, type_ in types.items()))
        .render_derived(name="given")
    )


def as_arrays(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Returns, for each column of the first row, the values of all rows."""
    return {PREFIX + name: [row[name] for row in rows] for name in rows[0]}


def ids(name: str = "ids") -> BindParameter[Any]:
    """Returns a parameter for `column == any_(ids())`: as many ids as there are."""
    return bindparam(name, type_=ARRAY(Text))
