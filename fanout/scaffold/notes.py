"""What a new consumer notes of an event: its key, what it is about, and when it happened."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import schemas
from fanout.errors import BadUsage
from schemas import Event
from schemas.files import versions_of
from schemas.model import Enum, Field, Primitive
from schemas.parsing import parse
from schemas.rendering import folder_of

SQL_TYPES = {
    "string": "Text",
    "int": "Integer",
    "long": "BigInteger",
    "boolean": "Boolean",
    "double": "Double",
}
MASS_NOUNS = {"stock", "fraud"}
TIME = "occurred_at"


@dataclass(frozen=True)
class Note:
    """One table, one row per event; `columns` maps their names to types of SQLAlchemy, the time is apart."""

    event: type[Event]
    columns: dict[str, str]

    @property
    def words(self) -> str:
        """OrderConfirmed: order_confirmed."""
        return folder_of(self.event.NAME)

    @property
    def table(self) -> str:
        """OrderConfirmed: confirmed_orders."""
        noun, _, verb = self.words.partition("_")
        nouns = noun if noun in MASS_NOUNS else f"{noun}s"
        return f"{verb}_{nouns}" if verb else nouns


def notes_of(names: Iterable[str]) -> list[Note]:
    """In the order given, each event once."""
    known = {event_type.NAME: event_type for event_type in schemas.EVENTS}
    for name in names:
        if name not in known:
            listed = ", ".join(f"{event.NAME} ({event.TOPIC})" for event in known.values())
            raise BadUsage(f"no event {name}; there are, with their topics, {listed}")
    return [_note(known[name]) for name in dict.fromkeys(names)]


def _note(event_type: type[Event]) -> Note:
    version, text = versions_of(event_type)[-1]
    fields = parse(text, version, event_type.NAME).record.fields
    types = {field.name: kind for field in fields if (kind := _sql_type(field))}
    return Note(
        event_type, {name: types[name] for name in [event_type.KEY, *_interesting(event_type, types)]}
    )


def _interesting(event_type: type[Event], types: dict[str, str]) -> Iterator[str]:
    """Whom or what it is about, and how much: the first plain field and the first amount."""
    plain = [name for name in types if name not in (event_type.KEY, event_type.VERSION_FIELD, TIME)]
    amounts = [name for name in plain if name.endswith("_cents")]
    yield from [name for name in plain if name not in amounts][:1]
    yield from amounts[:1]


def _sql_type(field: Field) -> str | None:
    """None for what takes more than a column, or may be missing."""
    match field.type:
        case Primitive(name):
            return SQL_TYPES.get(name)
        case Enum():
            return "Text"
        case _:
            return None
