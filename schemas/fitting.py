"""A JSON document as an event: either it fits the contract, or every field that does not is named."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from schemas.event import Event
from schemas.files import versions_of
from schemas.model import Array, Enum, Nullable, Primitive, Record, Type
from schemas.numbers import int32, int64
from schemas.parsing import parse

SIZES: dict[str, tuple[Callable[[int], int], int]] = {"int": (int32, 32), "long": (int64, 64)}


class Misfit(Exception):
    """`faults` are pairs of a field, such as `lines[0].quantity`, and what is wrong with it."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {fault}" for field, fault in faults))
        self.faults = faults


def fit(event_type: type[Event], document: Mapping[str, Any]) -> Event:
    """Raises Misfit. A field that may be null may be left out."""
    version, text = versions_of(event_type)[-1]
    record = parse(text, version, event_type.NAME).record
    if faults := list(_faults(document, record, "")):
        raise Misfit(faults)
    return event_type.from_record(_completed(document, record))


def _faults(value: Any, kind: Type, at: str) -> Iterator[tuple[str, str]]:
    match kind:
        case Nullable(inner):
            yield from () if value is None else _faults(value, inner, at)
        case Record():
            yield from _record_faults(value, kind, at)
        case Array(items) if isinstance(value, list):
            for number, item in enumerate(value):
                yield from _faults(item, items, f"{at}[{number}]")
        case Array():
            yield at, "must be a list"
        case Enum(symbols=symbols) if value not in symbols:
            yield at, f"must be one of {', '.join(symbols)}"
        case Primitive(name) if fault := _primitive_fault(value, name):
            yield at, fault


def _record_faults(value: Any, record: Record, at: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield at, "must be an object"
        return
    known = {field.name: field.type for field in record.fields}
    for name, kind in known.items():
        where = f"{at}.{name}".lstrip(".")
        if name in value:
            yield from _faults(value[name], kind, where)
        elif not isinstance(kind, Nullable):
            yield where, "is missing"
    for name in value.keys() - known.keys():
        yield f"{at}.{name}".lstrip("."), f"is not a field of {record.name}"


def _primitive_fault(value: Any, name: str) -> str | None:
    if name in SIZES:
        return _whole_number_fault(value, *SIZES[name])
    if name == "string":
        return _text_fault(value)
    if name == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    if name == "double":
        return None if type(value) in (int, float) else "must be a number"
    return f"is of type {name}, which JSON has not"


def _whole_number_fault(value: Any, size: Callable[[int], int], bits: int) -> str | None:
    if type(value) is not int:
        return "must be a whole number"
    try:
        size(value)
    except OverflowError:
        return f"does not fit into {bits} bits"
    return None


def _text_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a text"
    return None if _is_unicode(value) else "is not Unicode"


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _completed(value: Any, kind: Type) -> Any:
    """With null for each field that was left out."""
    match kind:
        case Record(fields=fields):
            return {field.name: _completed(value.get(field.name), field.type) for field in fields}
        case Array(items):
            return [_completed(item, items) for item in value]
        case Nullable(inner) if value is not None:
            return _completed(value, inner)
        case _:
            return value
