"""Generates Avro record schemas of every kind: what our contracts use, and the rest of the specification."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Schema = Any
Draw = st.DrawFn

NUMBERS = ("int", "long", "float", "double")
PLAIN = ("boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL: tuple[dict[str, Any], ...] = (
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 4},
)
NAMESPACES = ("shop", "shop.money", "other")
SYMBOLS = ("card", "invoice", "BOOK", "PEN", "CUP")
MAX_DEPTH = 3


class Names:
    """Gives each type and field a name of its own, and knows what may be referred to."""

    def __init__(self, count: int = 0) -> None:
        self._count = count
        self.complete: list[tuple[str, Schema]] = []
        self.open: list[str] = []

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"


@st.composite
def records(draw: Draw) -> dict[str, Any]:
    """Returns the schema of an event: a record of two to five fields."""
    return record(draw, Names(), "", 0, "OrderPlaced")


def record(draw: Draw, names: Names, namespace: str, depth: int, name: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": "record", "name": name or names.fresh("Part")}
    inner, full = _place(draw, spec, namespace)
    names.open.append(full)
    count = draw(st.integers(2, 5)) if depth == 0 else draw(st.integers(1, 3))
    spec["fields"] = [new_field(draw, names, inner, depth + 1) for _ in range(count)]
    if draw(st.integers(0, 3)) == 0:
        kind = draw(st.sampled_from(PLAIN))
        spec["fields"] += [{"name": names.fresh("field_"), "type": kind} for _ in range(2)]
    names.open.pop()
    names.complete.append((full, spec))
    return spec


def new_field(draw: Draw, names: Names, namespace: str, depth: int) -> dict[str, Any]:
    spec = {"name": names.fresh("field_"), "type": new_type(draw, names, namespace, depth)}
    if draw(st.booleans()) and (default := default_of(spec["type"], dict(names.complete), namespace)):
        spec["default"] = default[0]
    if draw(st.integers(0, 9)) == 0:
        spec["aliases"] = [names.fresh("former_")]
    return spec


def new_type(draw: Draw, names: Names, namespace: str, depth: int, in_union: bool = False) -> Schema:
    """Returns a type of any kind; nothing that contains others below the greatest depth."""
    kinds = ["plain", "plain", "logical", "enum", "enum", "fixed", "reference"]
    kinds += [] if depth >= MAX_DEPTH else ["array", "map", "record", "recursion"]
    kinds += [] if depth >= MAX_DEPTH or in_union else ["nullable", "nullable", "union", "union"]
    match draw(st.sampled_from(kinds)):
        case "logical":
            return dict(draw(st.sampled_from(LOGICAL)))
        case "enum":
            return enum(draw, names, namespace)
        case "fixed":
            return fixed(draw, names, namespace)
        case "array":
            return {"type": "array", "items": new_type(draw, names, namespace, depth + 1)}
        case "map":
            return {"type": "map", "values": new_type(draw, names, namespace, depth + 1)}
        case "record":
            return record(draw, names, namespace, depth)
        case "nullable":
            return ["null", new_type(draw, names, namespace, depth + 1, in_union=True)]
        case "union":
            return union(draw, names, namespace, depth)
        case "reference" if known := reachable([full for full, _ in names.complete], namespace):
            return draw(st.sampled_from(known))
        case "recursion" if known := reachable(names.open, namespace):
            return {"type": "array", "items": draw(st.sampled_from(known))}
        case _:
            return draw(st.sampled_from(PLAIN))


def reachable(full_names: list[str], namespace: str) -> list[str]:
    """Returns the names that can be written here: a name without a namespace is unknown inside of one."""
    return [name for name in full_names if "." in name or not namespace]


def enum(draw: Draw, names: Names, namespace: str) -> dict[str, Any]:
    symbols = list(draw(st.permutations(SYMBOLS)))[: draw(st.integers(1, 4))]
    spec: dict[str, Any] = {"type": "enum", "name": names.fresh("Kind"), "symbols": symbols}
    _, full = _place(draw, spec, namespace)
    if draw(st.booleans()):
        spec["default"] = symbols[0]
    names.complete.append((full, spec))
    return spec


def fixed(draw: Draw, names: Names, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"type": "fixed", "name": names.fresh("Hash"), "size": draw(st.integers(4, 6))}
    _, full = _place(draw, spec, namespace)
    if draw(st.booleans()):
        spec |= {"logicalType": "decimal", "precision": 9, "scale": 2}
    names.complete.append((full, spec))
    return spec


def union(draw: Draw, names: Names, namespace: str, depth: int) -> list[Schema]:
    """Returns two to four branches, of which no two are of one kind without a name."""
    branches: list[Schema] = []
    for _ in range(draw(st.integers(2, 4))):
        before = len(names.complete)
        branch = new_type(draw, names, namespace, depth + 1, in_union=True)
        if kind_of(branch) in map(kind_of, branches):
            del names.complete[before:]
        else:
            branches.append(branch)
    return [*draw(st.sampled_from([["null"], []])), *branches]


def kind_of(spec: Schema) -> str:
    """Returns what distinguishes a branch of a union: its name if it has one, otherwise its type."""
    name = spec.get("name", spec["type"]) if isinstance(spec, dict) else spec
    return name.rpartition(".")[2] if isinstance(name, str) else "union"


def default_of(spec: Schema, named: dict[str, Schema], namespace: str) -> tuple[Any, ...]:
    """Returns a default for the type as a tuple of one, or nothing if there is none."""
    if isinstance(spec, list):
        return default_of(spec[0], named, namespace)
    kind = spec["type"] if isinstance(spec, dict) else spec
    match kind:
        case "null":
            return (None,)
        case "boolean":
            return (True,)
        case "int" | "long":
            return (7,)
        case "float" | "double":
            return (1.5,)
        case "string":
            return ("7f9b2f0c-5e0f-4c5c-9d3a-0c1f5e8a6b11",)
        case "bytes":
            return ("\u0001",)
        case "array":
            return ([],)
        case "map":
            return ({},)
        case "enum":
            return (spec["symbols"][-1],)
        case "fixed":
            return ("\u0000" * spec["size"],)
        case "record" | "error":
            inner = {field["name"]: default_of(field["type"], named, namespace) for field in spec["fields"]}
            return ({name: value[0] for name, value in inner.items()},) if all(inner.values()) else ()
    found = named.get(kind)
    others = {name: one for name, one in named.items() if name != kind}
    return default_of(found, others, namespace) if found else ()


def _place(draw: Draw, spec: dict[str, Any], namespace: str) -> tuple[str, str]:
    """Gives a named type sometimes a namespace of its own; returns the namespace inside it, and its full name."""
    choice = draw(st.sampled_from(["inherited"] * 4 + ["own", "dotted"]))
    if choice == "own":
        namespace = spec["namespace"] = draw(st.sampled_from(NAMESPACES))
    full = f"{namespace}.{spec['name']}" if namespace else spec["name"]
    if choice == "dotted" and namespace:
        spec["name"] = full
    return namespace, full


def is_symbol(text: str) -> bool:
    """Returns whether a value is a symbol of a generated enum: no generated string is."""
    return text in SYMBOLS or text.startswith("NEW")


def definitions(spec: Schema, namespace: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each named type that a schema defines, with its full name, in the order of the text."""
    if isinstance(spec, list):
        for branch in spec:
            yield from definitions(branch, namespace)
    elif isinstance(spec, dict):
        if "name" in spec:
            full = full_name(spec, namespace)
            namespace = full.rpartition(".")[0]
            yield full, spec
        for inner in parts(spec):
            yield from definitions(inner, namespace)


def full_name(spec: dict[str, Any], namespace: str) -> str:
    namespace = spec.get("namespace", namespace)
    return spec["name"] if "." in spec["name"] or not namespace else f"{namespace}.{spec['name']}"


def parts(spec: dict[str, Any]) -> list[Schema]:
    """Returns the types directly inside a type."""
    if "fields" in spec:
        return [field["type"] for field in spec["fields"]]
    return [spec[name] for name in ("items", "values") if name in spec]
