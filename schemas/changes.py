"""Says in words how one version of a contract differs from another."""

import json
from collections.abc import Iterator
from typing import Any

Described = dict[str, dict[str, Any]]


def changes(old: Any, new: Any) -> list[str]:
    """Returns a line for each field or type that was added, removed or altered, in the order of the newer version."""
    before: Described = dict(_described(old))
    after: Described = dict(_described(new))
    added = [f"+ {path}: {_text(what)}" for path, what in after.items() if path not in before]
    removed = [f"- {path}" for path in before if path not in after]
    altered = [
        f"~ {path}: {attribute} was {_text(before[path].get(attribute))}, is {_text(what.get(attribute))}"
        for path, what in after.items()
        if path in before
        for attribute in sorted(before[path].keys() | what.keys())
        if before[path].get(attribute) != what.get(attribute)
    ]
    return [*added, *removed, *altered]


def _described(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each record, enum and field with its own attributes, by its path."""
    match schema:
        case list():
            for branch in schema:
                yield from _described(branch, path)
        case {"type": "record", "name": name, "fields": fields}:
            path = path or str(name)
            yield f"{path} (record)", _without(("type", "fields", "revision"), schema)
            for field in fields:
                where = f"{path}.{field['name']}"
                yield where, {"type": _type_name(field["type"]), **_without(("name", "type"), field)}
                yield from _described(field["type"], where)
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            yield from _described(inner, f"{path}[]")
        case {"type": "enum"}:
            yield f"{path} (enum)", _without(("type",), schema)


def _without(names: tuple[str, ...], spec: Any) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in names}


def _type_name(schema: Any) -> Any:
    """Returns the type without what is inside it, which is described by itself."""
    match schema:
        case list():
            return [_type_name(branch) for branch in schema]
        case {"type": "array", "items": items}:
            return {"array": _type_name(items)}
        case {"type": "map", "values": values}:
            return {"map": _type_name(values)}
        case {"type": "record" | "enum" | "fixed", "name": name}:
            return name
        case _:
            return schema


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
