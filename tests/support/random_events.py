"""Events of every shape their contract allows, for hypothesis."""

from typing import Any

from hypothesis import strategies as st

from schemas import Event
from schemas.files import versions_of
from schemas.model import Array, Enum, Nullable, Primitive, Record, Type
from schemas.parsing import parse

PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": st.text(st.characters(codec="utf-8")),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(),
}


def any_event(event_type: type[Event]) -> st.SearchStrategy[Event]:
    version, text = versions_of(event_type)[-1]
    values = any_value(parse(text, version, event_type.NAME).record)
    times = st.integers(0, 253_402_300_799_999)
    return st.builds(lambda value, time: event_type.from_record(value | {"occurred_at": time}), values, times)


def any_value(kind: Type) -> st.SearchStrategy[Any]:
    match kind:
        case Primitive(name):
            return PRIMITIVES[name]
        case Enum(symbols=symbols):
            return st.sampled_from(symbols)
        case Array(items):
            return st.lists(any_value(items), max_size=5)
        case Nullable(inner):
            return st.none() | any_value(inner)
        case Record(fields=fields):
            return st.fixed_dictionaries({field.name: any_value(field.type) for field in fields})
