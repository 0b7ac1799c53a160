"""The temporary tables in which a check finds events: one for each event type, and one for each of its lists."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

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
_SPECIAL = str.maketrans(
    {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r", "\0": "\N{REPLACEMENT CHARACTER}"}
)

Row = tuple[Any, ...]


class Published(NamedTuple):
    """An event as it was published, or as it was redriven for the `redrive`-th time to one consumer."""

    event_id: str
    redrive: int
    record: dict[str, Any]
    consumer: str = ""


@dataclass(frozen=True)
class ListTable:
    """The table of one list of an event: a row for each record in it."""

    name: str
    field: str
    key: str
    fields: Mapping[str, str]
    converted: Sequence[str]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("event_id", "redrive", self.key, "position", *self.fields)

    @property
    def ddl(self) -> str:
        fields = ", ".join(f'"{name}" {kind}' for name, kind in self.fields.items())
        return (
            f"CREATE TEMP TABLE {self.name} "
            f"(event_id uuid, redrive smallint, {self.key} text, position integer, {fields})"
        )

    def rows(self, events: Iterable[Published]) -> list[Row]:
        values, key, field = _getter(self.fields), self.key, self.field
        return [
            (event_id, redrive, record[key], position, *values(item))
            for event_id, redrive, record, _ in events
            for position, item in enumerate(_converted(record[field], self.converted))
        ]


@dataclass(frozen=True)
class EventTable:
    """The table of one event type: a row for each event. Its columns are the fields that are no list of records."""

    name: str
    event_type: type[Event]
    fields: Mapping[str, str]
    converted: Sequence[str]
    """The fields that may be null, booleans or lists: those that COPY reads differently from Python's text."""
    lists: Sequence[ListTable]

    @property
    def key(self) -> str:
        return self.event_type.KEY

    @property
    def parts(self) -> Sequence["EventTable | ListTable"]:
        return [*self.lists, self]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("event_id", "redrive", *("occurred_at_ms" if name == TIME else name for name in self.fields))

    @property
    def ddl(self) -> str:
        fields = (TIME_COLUMN if name == TIME else f'"{name}" {kind}' for name, kind in self.fields.items())
        return f"CREATE TEMP TABLE {self.name} (event_id uuid, redrive smallint, {', '.join(fields)})"

    def rows(self, events: Sequence[Published]) -> list[Row]:
        values = _getter(self.fields)
        records = _converted([event.record for event in events], self.converted)
        return [
            (event.event_id, event.redrive, *values(record))
            for event, record in zip(events, records, strict=True)
        ]

    def is_named_in(self, sql: str) -> bool:
        return any(
            re.search(rf"\b{table}\b", sql) for table in (self.name, *(each.name for each in self.lists))
        )


def event_tables(sql: str) -> list[EventTable]:
    """Returns the tables that the SQL names. A secret is a column only if the SQL names it, too."""
    found = [table for table in map(_table, EVENT_TYPES.values()) if table.is_named_in(sql)]
    return [_without_secrets(table, sql) for table in found]


def lines(rows: Sequence[Row]) -> bytes:
    """Returns rows in COPY's text format. Values are escaped only if one of them needs it, since that takes longer."""
    template = "\t".join(["%s"] * len(rows[0]))
    text = "\n".join([template % row for row in rows]) + "\n"
    is_plain = text.count("\t") == len(rows) * (len(rows[0]) - 1) and text.count("\n") == len(rows)
    if not is_plain or "\\" in text or "\r" in text or "\0" in text:
        text = "".join("\t".join(str(value).translate(_SPECIAL) for value in row) + "\n" for row in rows)
    return text.encode()


@cache
def _table(event_type: type[Event]) -> EventTable:
    version, text = versions_of(event_type)[-1]
    fields = parse(text, version, event_type.NAME).record.fields
    name = folder_of(event_type.NAME)
    lists = [
        ListTable(f"{name}_{field.name}", field.name, event_type.KEY, _columns(items), _to_convert(items))
        for field in fields
        if (items := _records_of(field.type))
    ]
    return EventTable(name, event_type, _columns(fields), _to_convert(fields), lists)


def _without_secrets(table: EventTable, sql: str) -> EventTable:
    kept = {
        name: kind
        for name, kind in table.fields.items()
        if not is_secret(name) or re.search(rf"\b{name}\b", sql)
    }
    return replace(table, fields=kept, converted=[name for name in table.converted if name in kept])


def _records_of(kind: Type) -> Sequence[Field]:
    """Returns the fields of a list's records."""
    return kind.items.fields if isinstance(kind, Array) and isinstance(kind.items, Record) else ()


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


def _to_convert(fields: Sequence[Field]) -> list[str]:
    return [field.name for field in fields if _sql_type(field.type) and not _is_plain(field.type)]


def _is_plain(kind: Type) -> bool:
    return isinstance(kind, Enum) or (isinstance(kind, Primitive) and kind.name != "boolean")


def _converted(records: Sequence[dict[str, Any]], names: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Returns the records with values of which COPY reads the text as the same values."""
    if not names:
        return records
    return [record | {name: _plain(record[name]) for name in names} for record in records]


def _plain(value: Any) -> Any:
    if value is None:
        return NULL
    if isinstance(value, list):
        return "{" + ",".join(_element(item) for item in value) + "}"
    return value


def _element(item: Any) -> str:
    escaped = str(item).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _getter(names: Iterable[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Returns what reads these fields, of which there are at least two, of a record."""
    return itemgetter(*names)
