"""Validates a JSON document as an event and names every field that does not fit the contract."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pydantic

from schemas.event import Event


class ValidationError(ValueError):
    """`errors` are pairs of a field, such as `lines[0].quantity` ("" for the whole document), and its message."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" if field else message for field, message in errors))
        self.errors = errors


def validate(event_type: type[Event], document: Mapping[str, Any]) -> Event:
    """Returns the event; a field that may be null may be left out. Raises ValidationError."""
    try:
        return _adapter(event_type).validate_json(json.dumps(document), strict=True, extra="forbid")
    except pydantic.ValidationError as invalid:
        errors = [(_path(error["loc"]), error["msg"]) for error in invalid.errors()]
        raise ValidationError(errors) from invalid


@cache
def _adapter(event_type: type[Event]) -> pydantic.TypeAdapter[Event]:
    return pydantic.TypeAdapter(event_type)


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(
        "."
    )
