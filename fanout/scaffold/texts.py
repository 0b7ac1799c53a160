"""The files of a new consumer, laid out as `ruff format` would."""

import tokenize
from collections.abc import Iterable, Sequence
from io import StringIO

from fanout.scaffold.notes import TIME, Note

LINE_LENGTH = 110

SERVICE = '''\
"""{title} stores a row for each event that it gets: a start, made to be edited."""

from collections.abc import Sequence

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.service import Service
{events}{tables}
service = Service("{name}", metadata)

{handlers}'''

TABLES = '''\
"""Tables of {name}."""

from sqlalchemy import Column, MetaData, Table
{types}
metadata = MetaData()

{tables}'''

TABLE = """\
{note.table} = Table(
    "{note.table}",
    metadata,
{columns}
)
"""

HANDLER = '''
@service.on({note.event.NAME})
async def store_{note.table}(events: Sequence[{note.event.NAME}], db: AsyncConnection) -> None:
    """Stores a row per event, each new to this service; the chassis commits the transaction."""
    rows = [
        {{
{values}
        }}
        for event in events
    ]
    await db.execute(insert({note.table}), rows)
'''

MIGRATION = '''\
"""Creates the tables of {name}."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
{tables}'''

CREATE = """\
    op.create_table(
        "{note.table}",
{columns}
    )
"""

TEST = '''\
"""{title} stores a redelivered event once, on a real Postgres."""

{events}{service}from tests.support.handling import example, handle, rows
from tests.support.stack_fixtures import NewDatabase
{tests}'''

ONE_TEST = """

async def test_the_same_{note.words}_twice_is_one_row(new_database: NewDatabase) -> None:
    database, event = await new_database("{name}"), example({note.event.NAME})
    await handle(service, database, event)
    await handle(service, database, event)
    assert [row.{note.event.KEY} for row in await rows(database, {note.table})] == [event.key]
"""


def files(name: str, notes: Sequence[Note]) -> dict[str, str]:
    """By path in the repository."""
    folder = f"services/{name}"
    return {
        f"{folder}/service.py": _service(name, notes),
        f"{folder}/tables.py": _tables(name, notes),
        f"{folder}/migrations/0001_{name}.py": _migration(name, notes),
        f"{folder}/test_{name}.py": _test(name, notes),
    }


def words(notes: Sequence[Note]) -> set[str]:
    """Every name that the new code uses and that the consumer therefore cannot have."""
    code = _service("x", notes) + _tables("x", notes) + _test("x", notes)
    return {token.string for token in tokenize.generate_tokens(StringIO(code).readline)}


def _service(name: str, notes: Sequence[Note]) -> str:
    return SERVICE.format(
        title=name.capitalize(),
        name=name,
        events=_import("schemas", (note.event.NAME for note in notes)),
        tables=_import(f"services.{name}.tables", ["metadata", *(note.table for note in notes)]),
        handlers="\n".join(_handler(note) for note in notes),
    )


def _handler(note: Note) -> str:
    values = [f'"{column}": event.{column},' for column in note.columns] + [f'"{TIME}": event.time,']
    return HANDLER.format(note=note, values=_indented(values, " " * 12))


def _tables(name: str, notes: Sequence[Note]) -> str:
    types = {"DateTime", *(kind for note in notes for kind in note.columns.values())}
    return TABLES.format(
        name=name,
        types=_import("sqlalchemy.types", types),
        tables="\n".join(TABLE.format(note=note, columns=_columns(note, " " * 4, "")) for note in notes),
    )


def _migration(name: str, notes: Sequence[Note]) -> str:
    tables = (CREATE.format(note=note, columns=_columns(note, " " * 8, "sa.")) for note in notes)
    return MIGRATION.format(name=name, tables="".join(tables))


def _columns(note: Note, indent: str, module: str) -> str:
    key, *others = note.columns
    lines = [f'{module}Column("{key}", {module}{note.columns[key]}, primary_key=True),']
    lines += [f'{module}Column("{name}", {module}{note.columns[name]}, nullable=False),' for name in others]
    lines += [f'{module}Column("{TIME}", {module}DateTime(timezone=True), nullable=False),']
    return _indented(lines, indent)


def _test(name: str, notes: Sequence[Note]) -> str:
    return TEST.format(
        title=name.capitalize(),
        events=_import("schemas", (note.event.NAME for note in notes)),
        service=_import(f"services.{name}.service", ["service"])
        + _import(f"services.{name}.tables", [note.table for note in notes]),
        tests="".join(ONE_TEST.format(name=name, note=note) for note in notes),
    )


def _import(module: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    line = f"from {module} import {', '.join(ordered)}\n"
    if len(line) <= LINE_LENGTH + 1:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in ordered) + ")\n"


def _indented(lines: Iterable[str], indent: str) -> str:
    return "\n".join(indent + line for line in lines)
