"""The temporary tables in which a check finds events: one for each event type, and one for each of its lists."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from chassis.events.record import EVENT_TYPES
from schemas import Event
from schemas.files import versions_of
from schemas.model import Array, Enum, Field, Nullable, Primitive, Record, Type
from schemas.parsing import parse
from schemas.rendering import folder_of
from schemas.secrets import is_secret

NULL = "\x01"
"""Stands for NULL in COPY's text format."""
TIME = "occurred_at"
TIME_COLUMN = (
    "occurred_at_ms bigint, "
    "occurred_at timestamptz GENERATED ALWAYS AS (to_timestamp(occurred_at_ms / 1000e0)) STORED"
)
TYPES = {"string": "text", "int": "bigint", "long": "bigint", "boolean": "boolean", "double": "float8"}
_SPECIAL = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": "\N{REPLACEMENT CHARACTER}"})

Convert = Callable[[Any], Any]
Row = Sequence[Any]


@dataclass(frozen=True)
class ListTable:
    """The table of one list of an event: a row for each record in it."""

    name: str
    field: str
    key: str
    fields: Mapping[str, str]

    @property
    def columns(self) -> Sequence[str]:
        return ("event_id", "redrive", self.key, "position", *self.fields)

    @property
    def ddl(self) -> str:
        fields = ", ".join(f'"{name}" {kind}' for name, kind in self.fields.items())
        return (
            f"CREATE TEMP TABLE {self.name} "
            f"(event_id uuid, redrive smallint, {self.key} text, position integer, {fields})"
        )

    def rows(self, event_id: str, redrive: int, record: Mapping[str, Any]) -> Iterator[Row]:
        for position, item in enumerate(record[self.field]):
            yield (event_id, redrive, record[self.key], position, *(_plain(item[name]) for name in self.fields))


@dataclass(frozen=True)
class EventTable:
    """The table of one event type: a row for each event. Its columns are the fields that are no list of records."""

    name: str
    event_type: type[Event]
    fields: Mapping[str, str]
    converted: Sequence[str]
    """The fields whose values may be null, booleans or lists: those that COPY reads differently from Python's text."""
    lists: Sequence[ListTable]

    @property
    def key(self) -> str:
        return self.event_type.KEY

    @property
    def columns(self) -> Sequence[str]:
        return ("event_id", "redrive", *("occurred_at_ms" if name == TIME else name for name in self.fields))

    @property
    def ddl(self) -> str:
        fields = (TIME_COLUMN if name == TIME else f'"{name}" {kind}' for name, kind in self.fields.items())
        return f"CREATE TEMP TABLE {self.name} (event_id uuid, redrive smallint, {', '.join(fields)})"

    def row_of(self) -> Callable[[str, int, dict[str, Any]], Row]:
        """Returns what makes a row of an event's record; it changes the record."""
        values, converted = itemgetter(*self.fields), self.converted

        def row(event_id: str, redrive: int, record: dict[str, Any]) -> Row:
            for name in converted:
                record[name] = _plain(record[name])
            return (event_id, redrive, *values(record))

        return row

    def named_in(self, sql: str) -> bool:
        return any(re.search(rf"\b{table}\b", sql) for table in (self.name, *(each.name for each in self.lists)))


def event_tables(sql: str) -> list[EventTable]:
    """Returns the tables that the SQL names. A secret is a column only if the SQL names it, too."""
    found = [table for table in map(_table, EVENT_TYPES.values()) if table.named_in(sql)]
    return [_without_secrets(table, sql) for table in found]


def lines(rows: Sequence[Row]) -> bytes:
    """Returns rows in COPY's text format. Values are escaped only if one of them needs it, since that takes longer."""
    template = "\t".join(["%s"] * len(rows[0]))
    text = "\n".join([template % tuple(row) for row in rows]) + "\n"
    is_plain = text.count("\t") == len(rows) * (len(rows[0]) - 1) and text.count("\n") == len(rows)
    if not is_plain or "\\" in text or "\r" in text or "\0" in text:
        text = "".join("\t".join(str(value).translate(_SPECIAL) for value in row) + "\n" for row in rows)
    return text.encode()


def _table(event_type: type[Event]) -> EventTable:
    version, text = versions_of(event_type)[-1]
    fields = parse(text, version, event_type.NAME).record.fields
    name = folder_of(event_type.NAME)
    lists = [
        ListTable(f"{name}_{field.name}", field.name, event_type.KEY, _columns(field.type.items.fields))
        for field in fields
        if isinstance(field.type, Array) and isinstance(field.type.items, Record)
    ]
    columns = _columns(fields)
    converted = [field.name for field in fields if field.name in columns and not _is_plain(field.type)]
    return EventTable(name, event_type, columns, converted, lists)


def _without_secrets(table: EventTable, sql: str) -> EventTable:
    kept = {
        name: kind
        for name, kind in table.fields.items()
        if not is_secret(name) or re.search(rf"\b{name}\b", sql)
    }
    converted = [name for name in table.converted if name in kept]
    return EventTable(table.name, table.event_type, kept, converted, table.lists)


def _columns(fields: Sequence[Field]) -> dict[str, str]:
    return {field.name: kind for field in fields if (kind := _sql_type(field.type))}


def _sql_type(kind: Type) -> str:
    """Returns "" for a list of records, which has a table of its own, and for what no contract has so far."""
    match kind:
        case Primitive(name):
            return TYPES.get(name, "")
        case Enum():
            return "text"
        case Nullable(inner):
            return _sql_type(inner)
        case Array(Primitive() | Enum() as items):
            return f"{_sql_type(items)}[]"
        case _:
            return ""


def _is_plain(kind: Type) -> bool:
    return isinstance(kind, Enum) or (isinstance(kind, Primitive) and kind.name != "boolean")


def _plain(value: Any) -> Any:
    """Returns a value whose text COPY reads as the same value."""
    if value is None:
        return NULL
    if isinstance(value, list):
        return "{" + ",".join(_element(item) for item in value) + "}"
    return value


def _element(item: Any) -> str:
    escaped = str(item).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
