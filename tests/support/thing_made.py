"""A contract to be varied: ThingMade, in a folder of its own."""

import json
from pathlib import Path
from typing import Any

LINE = {
    "type": "record",
    "name": "Line",
    "doc": "A line.",
    "fields": [
        {"name": "units", "type": "int", "doc": "How many."},
        {"name": "note", "type": ["null", "string"], "default": None, "doc": "A note."},
    ],
}
SIZE = {"type": "enum", "name": "Size", "doc": "A size.", "symbols": ["S", "L"]}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": f"The {name}.", **more}


def thing(*fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    fixed = [field("thing_id", "string"), field("thing_version", "int"), field("occurred_at", "long")]
    names = {"name": "ThingMade", "namespace": "fanout", "doc": "Made.", "topic": "things"}
    roles = {"key": "thing_id", "version": "thing_version"}
    return {"type": "record", **names, **roles, "fields": [*fixed, *fields], **changes}


def put(root: Path, spec: Any, folder: str = "thing_made", version: int = 1) -> None:
    """Writes v<version>.avsc: text as it is, a contract given as a dict with its revision added."""
    (root / folder).mkdir(exist_ok=True)
    if version > 1 and isinstance(spec, dict):
        spec = {"revision": version, **spec}
    (root / folder / f"v{version}.avsc").write_text(spec if isinstance(spec, str) else json.dumps(spec))


def without(attribute: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != attribute}
