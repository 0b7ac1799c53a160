"""The three files of a new consumer, laid out as `ruff format` would."""

import tokenize
from collections.abc import Iterable, Sequence
from io import StringIO

from fanout.scaffold.notes import TIME, Note

LINE_LENGTH = 110

SERVICE = '''\
"""{title} notes what it hears, a row for each event: a start, made to be edited."""

from collections.abc import Sequence

from sqlalchemy import Column, Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection
{types}
from chassis.service import Service
{events}
{name} = Service("{name}")

{tables}
{reactions}'''

TABLE = """\
{note.table} = Table(
    "{note.table}",
    {name}.metadata,
{columns}
)
"""

REACTION = '''
@{name}.on({note.event.NAME})
async def note_{note.table}(events: Sequence[{note.event.NAME}], db: AsyncConnection) -> None:
    """None of them was here before, and all of this is one transaction, which the chassis commits."""
    rows = [
        {{
{values}
        }}
        for event in events
    ]
    await db.execute(insert({note.table}), rows)
'''

MIGRATION = '''\
"""What {name} notes."""

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
"""What {name} hears twice it notes once, on a real Postgres."""

{events}{service}from tests.support.handling import example, handle, rows
from tests.support.stack_fixtures import NewDatabase
{tests}'''

ONE_TEST = """

async def test_the_same_{note.words}_twice_is_one_row(new_database: NewDatabase) -> None:
    database, event = await new_database("{name}"), example({note.event.NAME})
    await handle({name}, database, event)
    await handle({name}, database, event)
    assert [row.{note.event.KEY} for row in await rows(database, {note.table})] == [event.key]
"""


def files(name: str, notes: Sequence[Note]) -> dict[str, str]:
    """By path in the repository."""
    folder = f"services/{name}"
    return {
        f"{folder}/service.py": _service(name, notes),
        f"{folder}/migrations/0001_{name}.py": _migration(name, notes),
        f"{folder}/test_{name}.py": _test(name, notes),
    }


def words(notes: Sequence[Note]) -> set[str]:
    """Every name that the new code uses and that the consumer therefore cannot have."""
    code = _service("x", notes) + _test("x", notes)
    return {token.string for token in tokenize.generate_tokens(StringIO(code).readline)}


def _service(name: str, notes: Sequence[Note]) -> str:
    types = {"DateTime", *(kind for note in notes for kind in note.columns.values())}
    return SERVICE.format(
        title=name.capitalize(),
        name=name,
        types=_import("sqlalchemy.types", types),
        events=_import("schemas", (note.event.NAME for note in notes)),
        tables="\n".join(_table(name, note) for note in notes),
        reactions="\n".join(_reaction(name, note) for note in notes),
    )


def _table(name: str, note: Note) -> str:
    return TABLE.format(name=name, note=note, columns=_columns(note, " " * 4, ""))


def _reaction(name: str, note: Note) -> str:
    values = [f'"{column}": event.{column},' for column in note.columns] + [f'"{TIME}": event.time,']
    return REACTION.format(name=name, note=note, values=_indented(values, " " * 12))


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
        name=name,
        events=_import("schemas", (note.event.NAME for note in notes)),
        service=_import(f"services.{name}.service", [name, *(note.table for note in notes)]),
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
