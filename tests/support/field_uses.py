"""Events that record which of their fields a handler reads."""

from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def recording(event: T, reads: set[str], prefix: str = "") -> T:
    """Returns an equal event of a subclass that adds the path of each field that is read, as `lines[].quantity`."""
    names = {field.name for field in fields(event)}  # type: ignore[arg-type]  # T is a dataclass

    def read(self: Any, name: str) -> Any:
        if name in names:
            reads.add(prefix + name)
        return object.__getattribute__(self, name)

    kind: Any = type(type(event).__name__, (type(event),), {"__getattribute__": read, "__slots__": ()})
    values = {name: _recording(getattr(event, name), reads, f"{prefix}{name}[].") for name in names}
    return kind(**values)  # type: ignore[no-any-return]


def _recording(value: Any, reads: set[str], prefix: str) -> Any:
    if isinstance(value, tuple):
        return tuple(recording(item, reads, prefix) if is_dataclass(item) else item for item in value)
    return value
