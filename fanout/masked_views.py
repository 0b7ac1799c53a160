"""Gives a connection a view of each table in which secrets are masked, and a role that can read nothing else.

The views are temporary: they end with the connection, and no migration has to care about them. The role has no rights
on tables, so whatever a statement does with the views, it never has the secret in hand.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from fanout.errors import FanoutError
from fanout.provision.databases import READER
from schemas.secrets import MASK, SECRET_WORD, is_secret

NOT_SET_UP = (
    asyncpg.InvalidParameterValueError,
    asyncpg.UndefinedObjectError,
    asyncpg.InsufficientPrivilegeError,
)
TEXTUAL = ("text", "character varying", "json", "jsonb")
RECORD_KEY = "key"
_PAIR = rf'("(?:[a-z0-9]+[_-])*{SECRET_WORD}"\s*[:,](?!\s*null)\s*)("(?:[^"\\]|\\.)*"|[^,}}\]]+)'
"""A secret's name and its value, in a JSON object or in a list of headers."""


class Column(NamedTuple):
    name: str
    type: str
    is_indexed: bool


async def read_only_with_views(db: asyncpg.Connection, service: str) -> Mapping[str, Sequence[str]]:
    """Makes the views, takes the role for the rest of the transaction, and returns the columns of each table.

    Raises FanoutError if the set-up has not made the role.
    """
    tables: dict[str, list[Column]] = {}
    for table, *column in await db.fetch(_COLUMNS):
        tables.setdefault(table, []).append(Column(*column))
    try:
        for table, columns in tables.items():
            await db.execute(f'CREATE TEMPORARY VIEW "{table}" AS {_select(table, columns)}')
            await db.execute(f'GRANT SELECT ON pg_temp."{table}" TO {READER}')
        await db.execute(f"SET LOCAL ROLE {READER}; SET TRANSACTION READ ONLY")
    except NOT_SET_UP as error:
        raise FanoutError(
            f"the database of {service} has no role {READER} for this: fanout setup, or docker compose run --rm setup"
        ) from error
    return {table: [column.name for column in columns] for table, columns in tables.items()}


def _select(table: str, columns: Sequence[Column]) -> str:
    shown = ", ".join(f'{_expression(column)} AS "{column.name}"' for column in columns)
    return f'SELECT {shown} FROM public."{table}"'


def _expression(column: Column) -> str:
    """Bytes are shown as their number; a secret may be in any of them.

    Text is searched for secrets by their names, except in an indexed column: that identifies something, and a
    condition on it must find the index.
    """
    name = f'"{column.name}"'
    if is_secret(column.name):
        return f"CASE WHEN {name} IS NOT NULL THEN '{MASK}' END"
    if column.type == "bytea":
        return (
            f"encode({name}, 'escape')" if column.name == RECORD_KEY else f"octet_length({name}) || ' bytes'"
        )
    if column.type in TEXTUAL and not column.is_indexed:
        masked = f"""regexp_replace({name}::text, '{_PAIR}', '\\1"{MASK}"', 'gi')"""
        return masked if column.type not in ("json", "jsonb") else f"{masked}::{column.type}"
    return name


_COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
        EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
