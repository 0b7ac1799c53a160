"""Generates evolutions of Avro schemas: one or two edits, as people make them, of which many break and many do not."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from schemas import EVENTS
from schemas.files import versions_of
from tests.support.avro_schemas import (
    LOGICAL,
    NAMESPACES,
    PLAIN,
    SYMBOLS,
    Draw,
    Names,
    Schema,
    default_of,
    definitions,
    full_name,
    kind_of,
    new_type,
    records,
)

NEXT_NAME = 100
CONTRACTS: tuple[Schema, ...] = tuple(
    json.loads(text) for event_type in EVENTS for _, text in versions_of(event_type)
)


@dataclass(frozen=True, slots=True)
class Evolution:
    """An old and a new version of a schema, and the kinds of edit between them."""

    old: Schema
    new: Schema
    edits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """Three versions of a schema."""

    versions: tuple[Schema, Schema, Schema]


@st.composite
def families(draw: Draw, kinds: Sequence[str]) -> list[Evolution]:
    """Returns evolutions of one schema: for each kind an edit of it, and sometimes another one with it."""
    first = draw(st.one_of(records(), records(), st.sampled_from(CONTRACTS)))
    found = [_evolution(draw, copy.deepcopy(first), kind) for kind in kinds]
    return [evolution for evolution in found if evolution]


def _evolution(draw: Draw, old: Schema, kind: str) -> Evolution | None:
    """Returns None if there is nothing in the schema for an edit of that kind."""
    new, names = copy.deepcopy(old), Names(NEXT_NAME)
    if not _apply(kind, Edit(draw, new, names, old)):
        return None
    second = draw(st.sampled_from(sorted(EDITS))) if draw(st.integers(0, 2)) == 0 else None
    edits = (kind, second) if second and _apply(second, Edit(draw, new, names, old)) else (kind,)
    settle(new, dict(definitions(old)))
    return Evolution(old, new, edits)


@st.composite
def histories(draw: Draw) -> History:
    """Returns three versions, each made from the one before by an edit, or a field that goes and comes back changed."""
    first = draw(records())
    if draw(st.booleans()):
        return _field_that_comes_back(draw, first)
    second = _next(draw, first, draw(st.sampled_from(sorted(EDITS))), NEXT_NAME)
    third = _next(draw, second, draw(st.sampled_from(sorted(EDITS))), 2 * NEXT_NAME)
    return History((first, second, third))


def _field_that_comes_back(draw: Draw, first: Schema) -> History:
    """Each step is compatible with the one before if the types are, but the third need not be with the first."""
    kinds = draw(st.permutations(PLAIN))
    name = "returning"
    first["fields"].append({"name": name, "type": kinds[0], "default": default_of(kinds[0], {}, "")[0]})
    second, third = copy.deepcopy(first), copy.deepcopy(first)
    second["fields"].pop()
    back = draw(st.sampled_from(kinds[:2]))
    third["fields"][-1] = {"name": name, "type": back, "default": default_of(back, {}, "")[0]}
    return History((first, second, third))


def _next(draw: Draw, old: Schema, kind: str, next_name: int) -> Schema:
    new = copy.deepcopy(old)
    assume(_apply(kind, Edit(draw, new, Names(next_name), old)))
    settle(new, dict(definitions(old)))
    return new


def _apply(kind: str, edit: "Edit") -> bool:
    """Changes the schema and what refers to the changed part; returns False if there is nothing of the kind in it."""
    before = [full for full, _ in definitions(edit.schema)]
    if not EDITS[kind](edit):
        return False
    after = [full for full, _ in definitions(edit.schema)]
    if kind in RENAMES:
        _rename_references(edit.schema, dict(zip(before, after, strict=True)))
    _renew_defaults(edit)
    return True


@dataclass(frozen=True, slots=True)
class Edit:
    """The schema to change, what may be chosen in it, and the schema that it is made from."""

    draw: Draw
    schema: Schema
    names: Names
    old: Schema

    def one_of(self, choices: list[Any]) -> Any:
        return self.draw(st.sampled_from(choices)) if choices else None

    def records(self) -> list[tuple[dict[str, Any], str]]:
        """Returns each record and the namespace inside it."""
        found = [(spec, full.rpartition(".")[0]) for full, spec in definitions(self.schema)]
        return [(spec, namespace) for spec, namespace in found if "fields" in spec]

    def fields(self) -> list[tuple[dict[str, Any], dict[str, Any], str]]:
        return [(field, spec, namespace) for spec, namespace in self.records() for field in spec["fields"]]

    def field(self, accept: Callable[[dict[str, Any]], bool] = lambda field: True) -> Any:
        return self.one_of([found for found in self.fields() if accept(found[0])])

    def slots(self) -> Iterator[tuple[Any, Any]]:
        """Yields each place of a type: a container and the key in it."""
        for field, _, _ in self.fields():
            yield from _slots(field, "type")

    def slot(self, accept: Callable[[Schema], bool]) -> Any:
        return self.one_of([(holder, key) for holder, key in self.slots() if accept(holder[key])])

    def named(self, kind: str, accept: Callable[[dict[str, Any]], bool] = lambda spec: True) -> Any:
        found = [spec for _, spec in definitions(self.schema) if spec["type"] == kind and accept(spec)]
        return self.one_of(found)

    def default(self, spec: Schema, namespace: str) -> tuple[Any, ...]:
        return default_of(spec, dict(definitions(self.schema)), namespace)


EDITS: dict[str, Callable[[Edit], bool]] = {}
RENAMES = (
    "move_type_with_relative_alias",
    "rename_type",
    "rename_type_with_full_alias",
    "rename_type_with_relative_alias",
    "move_namespace",
    "swap_name_and_alias_of_a_type",
)


def edit(function: Callable[[Edit], bool]) -> Callable[[Edit], bool]:
    """Registers a kind of edit; the function returns whether it found something to change."""
    EDITS[function.__name__] = function
    return function


@edit
def add_optional_field(edit: Edit) -> bool:
    record, namespace = edit.one_of(edit.records())
    kind = new_type(edit.draw, edit.names, namespace, 2, in_union=True)
    record["fields"].append({"name": edit.names.fresh("field_"), "type": ["null", kind], "default": None})
    return True


@edit
def add_field_with_default(edit: Edit) -> bool:
    record, namespace = edit.one_of(edit.records())
    kind = new_type(edit.draw, edit.names, namespace, 2)
    default = default_of(kind, dict(definitions(kind, namespace)), namespace)
    if default:
        record["fields"].insert(0, {"name": edit.names.fresh("field_"), "type": kind, "default": default[0]})
    return bool(default)


@edit
def add_required_field(edit: Edit) -> bool:
    record, namespace = edit.one_of(edit.records())
    kind = new_type(edit.draw, edit.names, namespace, 2)
    record["fields"].append({"name": edit.names.fresh("field_"), "type": kind})
    return True


@edit
def remove_field(edit: Edit) -> bool:
    field, record, _ = edit.field()
    record["fields"] = [other for other in record["fields"] if other is not field]
    return True


@edit
def remove_field_with_default(edit: Edit) -> bool:
    found = edit.field(lambda field: "default" in field)
    if found:
        found[1]["fields"] = [other for other in found[1]["fields"] if other is not found[0]]
    return bool(found)


@edit
def rename_field(edit: Edit) -> bool:
    edit.field()[0]["name"] = edit.names.fresh("field_")
    return True


@edit
def rename_field_with_alias(edit: Edit) -> bool:
    field = edit.field()[0]
    field["aliases"] = [*field.get("aliases", []), field["name"]]
    field["name"] = edit.names.fresh("field_")
    return True


@edit
def rename_defaulted_field_with_alias(edit: Edit) -> bool:
    if found := edit.field(lambda field: "default" in field):
        found[0]["aliases"] = [found[0]["name"]]
        found[0]["name"] = edit.names.fresh("field_")
    return bool(found)


@edit
def swap_name_and_alias_of_a_field(edit: Edit) -> bool:
    """Each version knows the other's name: compatible both ways."""
    field = edit.field()[0]
    before = [found for found in _fields(edit.old) if found["name"] == field["name"]]
    if not before:
        return False
    before[0]["aliases"] = [edit.names.fresh("field_")]
    field["aliases"] = [field["name"]]
    field["name"] = before[0]["aliases"][0]
    return True


@edit
def swap_name_and_alias_of_a_type(edit: Edit) -> bool:
    full, spec = edit.one_of(list(definitions(edit.schema)))
    before = dict(definitions(edit.old)).get(full)
    if before is None:
        return False
    name = edit.names.fresh("New")
    before["aliases"] = [f"{full.rpartition('.')[0]}.{name}".removeprefix(".")]
    spec["aliases"] = [edit.one_of([full, full.rpartition(".")[2]])]
    _rename(spec, name)
    return True


@edit
def merge_fields(edit: Edit) -> bool:
    """One field takes the place of two by its aliases, or of a removed neighbour beside its own."""
    record, _ = edit.one_of(edit.records())
    pairs = [
        (a, b) for a in record["fields"] for b in record["fields"] if a is not b and a["type"] == b["type"]
    ]
    if not pairs:
        return False
    kept, gone = edit.one_of(pairs)
    record["fields"] = [field for field in record["fields"] if field is not gone]
    kept["aliases"] = [gone["name"]]
    if edit.draw(st.booleans()):
        kept["aliases"].append(kept["name"])
        kept["name"] = edit.names.fresh("field_")
    return True


@edit
def alias_a_neighbour(edit: Edit) -> bool:
    field, record, _ = edit.field()
    field["aliases"] = [edit.one_of([other["name"] for other in record["fields"]])]
    return True


@edit
def retype(edit: Edit) -> bool:
    holder, key = edit.slot(lambda spec: True)
    if isinstance(holder, list):
        return False
    holder[key] = new_type(edit.draw, edit.names, "", 2)
    holder.pop("default", None)
    return True


@edit
def promote(edit: Edit) -> bool:
    return _replace(edit, {"int": "long", "long": "double", "float": "double", "string": "bytes"})


@edit
def promote_far(edit: Edit) -> bool:
    return _replace(edit, {"int": "double", "long": "float", "bytes": "string"})


@edit
def demote(edit: Edit) -> bool:
    return _replace(edit, {"long": "int", "double": "long", "float": "int", "boolean": "int"})


def _replace(edit: Edit, kinds: dict[str, str]) -> bool:
    """Replaces one primitive type; in a union, only by one that is not there yet."""
    found = edit.slot(lambda spec: isinstance(spec, str) and spec in kinds)
    if not found or (isinstance(found[0], list) and kinds[found[0][found[1]]] in map(kind_of, found[0])):
        return False
    holder, key = found
    holder[key] = kinds[holder[key]]
    if isinstance(holder, dict) and "default" in holder:
        holder["default"] = default_of(holder[key], {}, "")[0]
    return True


@edit
def add_default(edit: Edit) -> bool:
    found = edit.field(lambda field: "default" not in field)
    default = found and edit.default(found[0]["type"], found[2])
    if default:
        found[0]["default"] = default[0]
    return bool(default)


@edit
def remove_default(edit: Edit) -> bool:
    found = edit.field(lambda field: "default" in field)
    if found:
        del found[0]["default"]
    return bool(found)


@edit
def add_symbol(edit: Edit) -> bool:
    found = edit.named("enum", lambda spec: len(spec["symbols"]) < len(SYMBOLS))
    if found:
        found["symbols"] = [*found["symbols"], next(one for one in SYMBOLS if one not in found["symbols"])]
    return bool(found)


@edit
def add_symbol_to_enum_with_default(edit: Edit) -> bool:
    found = edit.named("enum", lambda spec: "default" in spec)
    if found:
        found["symbols"] = [edit.names.fresh("NEW"), *found["symbols"]]
    return bool(found)


@edit
def remove_symbol(edit: Edit) -> bool:
    found = edit.named("enum", lambda spec: len(spec["symbols"]) > 1)
    if found:
        gone = found["symbols"].pop(0)
        if found.get("default") == gone:
            found["default"] = found["symbols"][0]
    return bool(found)


@edit
def add_enum_default(edit: Edit) -> bool:
    found = edit.named("enum", lambda spec: "default" not in spec)
    if found:
        found["default"] = found["symbols"][0]
    return bool(found)


@edit
def reorder_symbols(edit: Edit) -> bool:
    found = edit.named("enum", lambda spec: len(spec["symbols"]) > 1)
    if found:
        found["symbols"].reverse()
    return bool(found)


@edit
def make_nullable(edit: Edit) -> bool:
    found = edit.slot(lambda spec: not isinstance(spec, list) and spec != "null")
    if not found or isinstance(found[0], list):
        return False
    holder, key = found
    holder[key] = [holder[key], "null"] if "default" in holder else ["null", holder[key]]
    return True


@edit
def make_required(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, list) and "null" in spec and len(spec) == 2)
    if found:
        holder, key = found
        holder[key] = next(branch for branch in holder[key] if branch != "null")
        holder.pop("default", None)
    return bool(found)


@edit
def add_branch(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, list))
    if not found:
        return False
    branches = found[0][found[1]]
    branch = new_type(edit.draw, edit.names, "", 3, in_union=True)
    if kind_of(branch) in map(kind_of, branches):
        return False
    branches.append(branch)
    return True


@edit
def add_narrower_branch(edit: Edit) -> bool:
    """A union grows by a type that its old readers can promote: compatible both ways."""
    narrower = {"long": "int", "double": "float", "bytes": "string"}
    found = edit.slot(lambda spec: isinstance(spec, str) and spec in narrower)
    if not found:
        return False
    holder, key = found
    if isinstance(holder, list):
        if narrower[holder[key]] in map(kind_of, holder):
            return False
        holder.append(narrower[holder[key]])
    else:
        holder[key] = [holder[key], narrower[holder[key]]]
    return True


@edit
def remove_branch(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, list) and len(spec) > 2)
    if found:
        found[0][found[1]].pop()
    return bool(found)


@edit
def reorder_branches(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, list) and len(spec) > 1)
    if found:
        holder, key = found
        holder[key].reverse()
        holder.pop("default", None)
    return bool(found)


@edit
def rename_type(edit: Edit) -> bool:
    _, spec = edit.one_of(list(definitions(edit.schema)))
    _rename(spec, edit.names.fresh("New"))
    return True


@edit
def rename_type_with_full_alias(edit: Edit) -> bool:
    full, spec = edit.one_of(list(definitions(edit.schema)))
    spec["aliases"] = [full]
    _rename(spec, edit.names.fresh("New"))
    return True


@edit
def rename_type_with_relative_alias(edit: Edit) -> bool:
    full, spec = edit.one_of(list(definitions(edit.schema)))
    spec["aliases"] = [full.rpartition(".")[2]]
    _rename(spec, edit.names.fresh("New"))
    return True


@edit
def move_type_with_relative_alias(edit: Edit) -> bool:
    """The alias is relative to the new namespace, so it is not the old name: people forget that."""
    full, spec = edit.one_of(list(definitions(edit.schema)))
    spec["aliases"] = [full.rpartition(".")[2]]
    spec["name"] = edit.names.fresh("New")
    spec["namespace"] = edit.one_of([name for name in NAMESPACES if name != full.rpartition(".")[0]])
    return True


@edit
def add_type_alias(edit: Edit) -> bool:
    _, spec = edit.one_of(list(definitions(edit.schema)))
    spec["aliases"] = [edit.names.fresh("Former")]
    return True


@edit
def move_namespace(edit: Edit) -> bool:
    _, spec = edit.one_of(list(definitions(edit.schema)))
    spec["name"] = spec["name"].rpartition(".")[2]
    spec["namespace"] = edit.one_of([name for name in NAMESPACES if name != spec.get("namespace")])
    return True


@edit
def change_size(edit: Edit) -> bool:
    found = edit.named("fixed")
    if found:
        found["size"] += 1
    return bool(found)


@edit
def change_scale(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, dict) and spec.get("logicalType") == "decimal")
    if found:
        spec = found[0][found[1]]
        spec["scale"] = spec.get("scale", 0) + 1
    return bool(found)


@edit
def change_precision(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, dict) and spec.get("logicalType") == "decimal")
    if found:
        found[0][found[1]]["precision"] -= 1
    return bool(found)


@edit
def add_logical_type(edit: Edit) -> bool:
    plain = {spec["type"] for spec in LOGICAL}
    found = edit.slot(lambda spec: isinstance(spec, str) and spec in plain)
    if found:
        holder, key = found
        holder[key] = dict(edit.one_of([spec for spec in LOGICAL if spec["type"] == holder[key]]))
    return bool(found)


@edit
def remove_logical_type(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, dict) and spec in LOGICAL)
    if found:
        found[0][found[1]] = found[0][found[1]]["type"]
    return bool(found)


@edit
def add_unknown_logical_type(edit: Edit) -> bool:
    found = edit.slot(lambda spec: spec in ("string", "long", "int"))
    if found:
        found[0][found[1]] = {"type": found[0][found[1]], "logicalType": "money"}
    return bool(found)


@edit
def change_docs(edit: Edit) -> bool:
    edit.schema["doc"] = "What happened."
    edit.field()[0]["doc"] = "What it is."
    return True


@edit
def add_attribute(edit: Edit) -> bool:
    edit.schema["topic"] = "orders"
    edit.field()[0]["unit"] = "cents"
    return True


@edit
def reorder_fields(edit: Edit) -> bool:
    record, _ = edit.one_of(edit.records())
    record["fields"].reverse()
    return True


@edit
def record_to_error(edit: Edit) -> bool:
    record, _ = edit.one_of(edit.records())
    record["type"] = "error"
    return True


@edit
def wrap_in_array(edit: Edit) -> bool:
    field = edit.field()[0]
    field["type"] = {"type": "array", "items": field["type"]}
    field.pop("default", None)
    return True


@edit
def array_to_map(edit: Edit) -> bool:
    found = edit.slot(lambda spec: isinstance(spec, dict) and "items" in spec)
    if found:
        spec = found[0][found[1]]
        spec |= {"type": "map", "values": spec.pop("items")}
        found[0].pop("default", None) if isinstance(found[0], dict) else None
    return bool(found)


def _fields(schema: Schema) -> list[dict[str, Any]]:
    return [field for _, spec in definitions(schema) if "fields" in spec for field in spec["fields"]]


def _rename(spec: dict[str, Any], name: str) -> None:
    namespace, dot, _ = spec["name"].rpartition(".")
    spec["name"] = namespace + dot + name


def _slots(holder: Any, key: Any) -> Iterator[tuple[Any, Any]]:
    yield holder, key
    spec = holder[key]
    if isinstance(spec, list):
        for index in range(len(spec)):
            yield from _slots(spec, index)
    elif isinstance(spec, dict):
        for name in ("items", "values"):
            if name in spec:
                yield from _slots(spec, name)


def _renew_defaults(edit: Edit) -> None:
    """Replaces each default by one that its type, which may have changed, allows."""
    for field, _, namespace in edit.fields():
        if default := "default" in field and edit.default(field["type"], namespace):
            field["default"] = default[0]
        else:
            field.pop("default", None)


def _rename_references(spec: Schema, renamed: dict[str, str]) -> None:
    _each_reference(spec, lambda name: renamed.get(name, name))


def _each_reference(spec: Schema, change: Callable[[str], Schema]) -> None:
    if isinstance(spec, list):
        for index, branch in enumerate(spec):
            spec[index] = change(branch) if isinstance(branch, str) else branch
            _each_reference(branch, change)
    elif isinstance(spec, dict):
        for field in spec.get("fields", ()):
            field["type"] = change(field["type"]) if isinstance(field["type"], str) else field["type"]
            _each_reference(field["type"], change)
        for name in ("items", "values"):
            if name in spec:
                spec[name] = change(spec[name]) if isinstance(spec[name], str) else spec[name]
                _each_reference(spec[name], change)


def settle(schema: Schema, definitions_before: dict[str, Schema]) -> None:
    """Defines each named type where it is used first, since an edit may have removed or moved its definition."""
    seen: set[str] = set()
    everything = {**definitions_before, **{name: copy.deepcopy(spec) for name, spec in definitions(schema)}}
    _settle({"items": schema}, "items", "", seen, everything)


def _settle(holder: Any, key: Any, namespace: str, seen: set[str], everything: dict[str, Schema]) -> None:
    spec = holder[key]
    if isinstance(spec, str) and spec in everything and spec not in seen:
        full = spec
        spec = holder[key] = copy.deepcopy(everything[full])
        spec["namespace"], _, spec["name"] = full.rpartition(".")
    if isinstance(spec, list):
        for index in range(len(spec)):
            _settle(spec, index, namespace, seen, everything)
    elif isinstance(spec, dict):
        if "name" in spec:
            full = full_name(spec, namespace)
            namespace = full.rpartition(".")[0]
            if full in seen:
                holder[key] = full
                return
            seen.add(full)
        for field in spec.get("fields", ()):
            _settle(field, "type", namespace, seen, everything)
        for name in ("items", "values"):
            if name in spec:
                _settle(spec, name, namespace, seen, everything)
