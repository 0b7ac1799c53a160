"""Lists where the judges of Avro schemas do not agree with our verdict, why, and what we decide (decision 0084).

A disagreement that no entry explains is an error, on one side or the other. Each entry has an example of its own, on
which a test sees the judge disagree: an entry that no longer holds is found as well.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.avro_types import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
    branch_name,
    parse_avro,
)
from schemas.compatibility import Mismatch, SchemaError, mismatches
from tests.support.avro_schemas import definitions

FASTAVRO, AVRO, COMPATIBILITY, REGISTRY = "fastavro", "avro", "avro.compatibility", "registry"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two types that are compared when data is read, and the fields that they are types of."""

    reader: Type
    writer: Type
    reader_field: Field | None = None
    writer_field: Field | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """Two schemas as JSON, and each pair of types in them that is compared."""

    reader: Any
    writer: Any
    pairs: list[Pair]


@dataclass(frozen=True, slots=True)
class WeRefuse:
    """Describes a difference that we refuse and the judge reads; `covers` matches the mismatches that it explains."""

    judge: str
    name: str
    covers: Callable[[Mismatch, Case], bool]
    reader: Any
    writer: Any
    why: str


@dataclass(frozen=True, slots=True)
class TheyRefuse:
    """A judge fails on what the rules allow, with an error that begins like this one, where this is found."""

    judge: str
    name: str
    error: str
    found: Callable[[Case], bool]
    reader: Any
    writer: Any
    why: str


@dataclass(frozen=True, slots=True)
class TheyChange:
    """A judge reads what the rules allow, as we say, but the value that it returns is another one."""

    judge: str
    name: str
    found: Callable[[Case], bool]
    reader: Any
    writer: Any
    why: str


def our_mismatches(reader: Any, writer: Any) -> list[Mismatch]:
    """Returns our verdict; a schema that we call malformed is refused like one that does not match."""
    try:
        return mismatches(reader, writer)
    except SchemaError as error:
        return [Mismatch("", "malformed", str(error), "")]


def is_explained(judge: str, reader: Any, writer: Any, ours: list[Mismatch], error: str | None) -> bool:
    """Returns whether the table has the reason for which the judge's verdict is not ours."""
    case = Case(reader, writer, compared_types(reader, writer))
    if ours:
        entries = [entry for entry in WE_REFUSE if entry.judge == judge]
        return all(any(entry.covers(mismatch, case) for entry in entries) for mismatch in ours)
    return any(
        entry.judge == judge and re.match(entry.error, error or "") and entry.found(case)
        for entry in THEY_REFUSE
    )


def may_change(judge: str, reader: Any, writer: Any) -> bool:
    """Returns whether the table has a reason for which the judge may return another value than was written."""
    case = Case(reader, writer, compared_types(reader, writer))
    return any(entry.judge == judge and entry.found(case) for entry in THEY_CHANGE)


def compared_types(reader: Any, writer: Any) -> list[Pair]:
    """Returns each pair of types that resolution compares; none if a schema is malformed."""
    try:
        return list(_pairs(Pair(parse_avro(reader), parse_avro(writer)), set()))
    except SchemaError:
        return []


def _pairs(pair: Pair, seen: set[tuple[int, int]]) -> Iterator[Pair]:
    yield pair
    match pair.reader, pair.writer:
        case (Union(), _) | (_, Union()):
            for read in _branches(pair.reader):
                for written in _branches(pair.writer):
                    yield from _pairs(Pair(read, written), seen)
        case (Array(read), Array(written)) | (Map(read), Map(written)):
            yield from _pairs(Pair(read, written), seen)
        case Record() as reader, Record() as writer if (id(reader), id(writer)) not in seen:
            seen.add((id(reader), id(writer)))
            for field in reader.fields:
                for source in writer.fields:
                    if source.name in (field.name, *field.aliases):
                        yield from _pairs(Pair(field.type, source.type, field, source), seen)


def _branches(kind: Type) -> tuple[Type, ...]:
    return kind.branches if isinstance(kind, Union) else (kind,)


def in_a_pair(found: Callable[[Pair], bool]) -> Callable[[Case], bool]:
    return lambda case: any(map(found, case.pairs))


def of_kind(kind: str, *readers: str) -> Callable[[Mismatch, Case], bool]:
    """Returns a test for mismatches of a kind, with these reader's types if any are given."""
    return lambda mismatch, _: (
        mismatch.kind == kind and (not readers or mismatch.reader.split()[0] in readers)
    )


def is_of_decimals(mismatch: Mismatch, _: Case) -> bool:
    return mismatch.kind == "logical" and mismatch.reader[:8] == mismatch.writer[:8] == "decimal("


def is_of_another_logical_type(mismatch: Mismatch, case: Case) -> bool:
    return mismatch.kind == "logical" and not is_of_decimals(mismatch, case)


def is_decimal_as_string(mismatch: Mismatch, _: Case) -> bool:
    return mismatch.kind == "lossy" and mismatch.writer.startswith("bytes (decimal")


def has_an_alias_twice(mismatch: Mismatch, _: Case) -> bool:
    return mismatch.kind == "malformed" and mismatch.reader.endswith("is the name or alias of a field twice")


def has_an_alias_of_another_namespace(mismatch: Mismatch, case: Case) -> bool:
    return mismatch.kind == "name" and any(
        isinstance(pair.reader, NAMED)
        and isinstance(pair.writer, NAMED)
        and pair.writer.name.rpartition(".")[0] != pair.reader.name.rpartition(".")[0]
        and pair.writer.name not in pair.reader.aliases
        and pair.writer.short in [alias.rpartition(".")[2] for alias in pair.reader.aliases]
        for pair in case.pairs
    )


def is_below_an_aliased_field_with_default(mismatch: Mismatch, case: Case) -> bool:
    return any(
        pair.reader_field
        and pair.reader_field.has_default
        and is_by_alias(pair)
        and re.search(rf"\.{pair.reader_field.name}(\W|$)", mismatch.path)
        for pair in case.pairs
    )


def is_by_alias(pair: Pair) -> bool:
    return bool(pair.reader_field and pair.writer_field and pair.reader_field.name != pair.writer_field.name)


def is_of_another_full_name(pair: Pair) -> bool:
    """Returns whether a named type is matched by its unqualified name or by an alias."""
    if not isinstance(pair.reader, NAMED) or not isinstance(pair.writer, NAMED):
        return False
    is_matched = pair.reader.short == pair.writer.short or pair.writer.name in pair.reader.aliases
    return is_matched and pair.reader.name != pair.writer.name


def is_of_a_relative_alias(case: Case) -> bool:
    """Returns whether a type is matched by an alias that is written without its namespace."""
    relative = [
        alias for _, spec in definitions(case.reader) for alias in spec.get("aliases", ()) if "." not in alias
    ]
    return any(
        is_of_another_full_name(pair) and isinstance(pair.writer, NAMED) and pair.writer.short in relative
        for pair in case.pairs
    )


def is_string_as_bytes(pair: Pair) -> bool:
    return (
        isinstance(pair.reader, Primitive)
        and isinstance(pair.writer, Primitive)
        and ((pair.writer.kind, pair.reader.kind) == ("string", "bytes"))
    )


def uses_the_enums_default(pair: Pair) -> bool:
    return (
        isinstance(pair.reader, Enum)
        and isinstance(pair.writer, Enum)
        and not {*pair.writer.symbols} <= {*pair.reader.symbols}
    )


def has_other_items(pair: Pair) -> bool:
    match pair.reader, pair.writer:
        case (Array(read), Array(written)) | (Map(read), Map(written)):
            return type(read) is not type(written) or branch_name(read) != branch_name(written)
        case _:
            return False


def is_named_as_union(pair: Pair) -> bool:
    return isinstance(pair.reader, Union) and isinstance(pair.writer, NAMED)


def is_union_as_no_union(pair: Pair) -> bool:
    return isinstance(pair.writer, Union) and not isinstance(pair.reader, Union)


def has_an_error_type(case: Case) -> bool:
    return any(
        spec["type"] == "error" for side in (case.reader, case.writer) for _, spec in definitions(side)
    )


def may_take_bytes_for_string(pair: Pair) -> bool:
    """Returns whether bytes of a writer meet string before bytes in the reader's union."""
    read, written = (
        [branch_name(branch) for branch in _branches(kind)] for kind in (pair.reader, pair.writer)
    )
    return "bytes" in written and "string" in read and "bytes" in read[read.index("string") :]


def may_take_a_wider_branch(pair: Pair) -> bool:
    """Returns whether a number of a writer meets a type that it would lose digits in before its own."""
    read, written = (
        [branch_name(branch) for branch in _branches(kind)] for kind in (pair.reader, pair.writer)
    )
    return any(
        narrow in written and narrow in read and wide in read[: read.index(narrow)]
        for narrow, wide in (("int", "float"), ("long", "float"), ("long", "double"))
    )


def record(*fields: dict[str, Any], name: str = "A", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def of(kind: Any) -> dict[str, Any]:
    return record(field("x", kind))


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def part(namespace: str, name: str) -> dict[str, Any]:
    return record(field(name, "int"), name="Part", namespace=namespace)


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
CENTS = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
MILLS = {**CENTS, "scale": 3}
TWO = record(field("a", "int"), field("b", "int"))
TAKES_TWO = record(field("b", "int", aliases=["a"]))
BOTH_NAMES = record(field("a", "int"), field("b", "int", aliases=["a"]))
NAMED = (Record, Enum, Fixed)
ALL = (FASTAVRO, AVRO, COMPATIBILITY, REGISTRY)
LIBRARIES = (FASTAVRO, AVRO, COMPATIBILITY)

WE_REFUSE = (
    *(
        WeRefuse(
            judge,
            "a logical type that came",
            is_of_another_logical_type,
            reader=of(MILLIS),
            writer=of("long"),
            why="Logical types are ignored, so a number may be read in another unit than it was written in.",
        )
        for judge in ALL
    ),
    *(
        WeRefuse(
            judge,
            "a decimal of another scale",
            is_of_decimals,
            reader=of(MILLS),
            writer=of(CENTS),
            why="The specification calls it a mismatch, no judge does: 12.34 may be read as 1.234.",
        )
        for judge in ALL
    ),
    *(
        WeRefuse(
            judge,
            "a long as a double",
            of_kind("lossy", "float", "double"),
            reader=of("double"),
            writer=of("long"),
            why="The rules allow it; numbers above 2^53 lose digits, and those above 2^24 in a float.",
        )
        for judge in ALL
    ),
    *(
        WeRefuse(
            judge,
            "bytes as a string",
            of_kind("lossy", "string"),
            reader=of("string"),
            writer=of("bytes"),
            why="The rules allow it, and fastavro shows why it is refused: bytes that are not UTF-8 cannot be read.",
        )
        for judge in (COMPATIBILITY, REGISTRY)
    ),
    WeRefuse(
        FASTAVRO,
        "a decimal as a string",
        is_decimal_as_string,
        reader=of("string"),
        writer=of(CENTS),
        why="The logical type of the writer is applied, and code that expects text is given a Decimal.",
    ),
    *(
        WeRefuse(
            judge,
            "branches in another order",
            of_kind("order"),
            reader=of(["double", "long"]),
            writer=of(["long", "double"]),
            why="The first branch that matches is taken: a long is read as a double, bytes as a string.",
        )
        for judge in ALL
    ),
    *(
        WeRefuse(
            judge,
            "a field that takes two",
            of_kind("ambiguous"),
            reader=TAKES_TWO,
            writer=TWO,
            why="Name and alias both match a field; one value is dropped, which one is not specified.",
        )
        for judge in LIBRARIES
    ),
    *(
        WeRefuse(
            judge,
            "an alias that is a name in the same record",
            has_an_alias_twice,
            reader=record(field("x", "int"), field("y", ["null", {**BOTH_NAMES, "name": "B"}], default=None)),
            writer=of("int"),
            why="Two fields claim one name. The registry answers 422 once it compares such a record with its like.",
        )
        for judge in ALL
    ),
    *(
        WeRefuse(
            judge,
            "an alias of another namespace",
            has_an_alias_of_another_namespace,
            reader=record(name="B", namespace="other", aliases=["A"]),
            writer=record(name="A"),
            why="A relative alias belongs to the namespace of its type; it is taken for another one's here.",
        )
        for judge in (FASTAVRO, COMPATIBILITY)
    ),
    WeRefuse(
        AVRO,
        "a mismatch below a renamed field",
        is_below_an_aliased_field_with_default,
        reader=record(field("y", "int", aliases=["x"], default=1)),
        writer=of("string"),
        why="Field aliases are ignored: the default is taken, and the written value is dropped without a word.",
    ),
)

THEY_REFUSE = (
    TheyRefuse(
        FASTAVRO,
        "bytes behind string in a union",
        "UnicodeDecodeError",
        in_a_pair(may_take_bytes_for_string),
        reader=record(field("x", ["string", "bytes"]), field("y", "int", default=1)),
        writer=of(["string", "bytes"]),
        why="The first branch that matches is string, though the union did not change: no contract of ours has one.",
    ),
    TheyRefuse(
        FASTAVRO,
        "a type that became nullable and is defined elsewhere",
        "TypeError: string indices must be integers",
        in_a_pair(is_named_as_union),
        reader=record(field("y", enum("a")), field("x", ["null", "E"])),
        writer=record(field("x", enum("a")), field("y", "E")),
        why="A name in the reader's union is not looked up if the writer has the definition in its place.",
    ),
    TheyRefuse(
        FASTAVRO,
        "branches of one unqualified name",
        "SchemaResolutionError: No default value for field",
        in_a_pair(is_of_another_full_name),
        reader=record(field("x", [part("m", "a"), part("n", "b")]), field("y", "int", default=1)),
        writer=of([part("m", "a"), part("n", "b")]),
        why="The first branch of the unqualified name is taken, though one with the full name is there.",
    ),
    TheyRefuse(
        AVRO,
        "a field alias",
        "SchemaResolutionException: No default value for field",
        in_a_pair(is_by_alias),
        reader=record(field("y", "int", aliases=["x"])),
        writer=of("int"),
        why="Field aliases are ignored.",
    ),
    TheyRefuse(
        AVRO,
        "a type alias or another namespace",
        "SchemaResolutionException: Schemas do not match",
        in_a_pair(is_of_another_full_name),
        reader=record(name="B", aliases=["A"]),
        writer=record(name="A"),
        why="Type aliases are ignored, and full names are compared where the specification says unqualified ones.",
    ),
    TheyRefuse(
        AVRO,
        "string as bytes",
        "SchemaResolutionException: Schemas do not match",
        in_a_pair(is_string_as_bytes),
        reader=of("bytes"),
        writer=of("string"),
        why="The promotion is missing.",
    ),
    TheyRefuse(
        AVRO,
        "an enum's default",
        "SchemaResolutionException: Symbol .* not present in Reader",
        in_a_pair(uses_the_enums_default),
        reader=of(enum("card", default="card")),
        writer=of(enum("card", "invoice")),
        why="The default of an enum is ignored.",
    ),
    TheyRefuse(
        AVRO,
        "promoted items",
        "SchemaResolutionException: Schemas do not match",
        in_a_pair(has_other_items),
        reader=of({"type": "array", "items": "long"}),
        writer=of({"type": "array", "items": "int"}),
        why="Items of arrays and values of maps must be of the same type.",
    ),
    TheyRefuse(
        AVRO,
        "a union read as one type",
        "SchemaResolutionException: Schemas do not match",
        in_a_pair(is_union_as_no_union),
        reader=of("long"),
        writer=of(["int", "long"]),
        why="A type that is no union never matches one.",
    ),
    TheyRefuse(
        AVRO,
        "an error as a record",
        "SchemaResolutionException: Schemas do not match",
        has_an_error_type,
        reader=record(),
        writer={**record(), "type": "error"},
        why="The specification knows no difference when data is read.",
    ),
    TheyRefuse(
        AVRO,
        "the namespace of an error",
        "SchemaParseException",
        has_an_error_type,
        reader={
            **record(field("x", enum("a")), field("y", "shop.E"), namespace="shop"),
            "type": "error",
        },
        writer=record(field("x", enum("a")), field("y", "shop.E"), namespace="shop"),
        why="Types inside an error do not inherit its namespace.",
    ),
    TheyRefuse(
        COMPATIBILITY,
        "an error as a record",
        "(AvroRuntimeException: Unknown schema type: error|reader (type|union).*(error|ERROR|record))",
        has_an_error_type,
        reader=record(),
        writer={**record(), "type": "error"},
        why="Errors are an unknown type to it.",
    ),
    TheyRefuse(
        COMPATIBILITY,
        "the namespace of an error",
        "SchemaParseException",
        has_an_error_type,
        reader={
            **record(field("x", enum("a")), field("y", "shop.E"), namespace="shop"),
            "type": "error",
        },
        writer=record(field("x", enum("a")), field("y", "shop.E"), namespace="shop"),
        why="Types inside an error do not inherit its namespace.",
    ),
    TheyRefuse(
        COMPATIBILITY,
        "a relative alias",
        "(expected: |reader union lacking writer type)",
        is_of_a_relative_alias,
        reader=record(name="B", namespace="shop", aliases=["A"]),
        writer=record(name="A", namespace="shop"),
        why="An alias without a namespace is compared with the full name as it is written.",
    ),
)

THEY_CHANGE = (
    TheyChange(
        FASTAVRO,
        "a long behind a double in a union",
        in_a_pair(may_take_a_wider_branch),
        reader=record(field("x", ["double", "long"]), field("y", "int", default=1)),
        writer=of(["double", "long"]),
        why="The first branch that matches is double, though the union did not change: no contract of ours has one.",
    ),
)

# Schemas that the registry registers though the specification does not allow them. We call them malformed.
REGISTRY_TAKES: dict[str, Any] = {
    "a default that is no symbol": record(field("x", enum("a"), default="b")),
    "a default of another length": record(field("x", {"type": "fixed", "name": "H", "size": 2}, default="a")),
    "a default that is no byte": record(field("x", "bytes", default="\u0100")),
    "a default in words": record(field("x", "double", default="NaN")),
    "a name beyond ASCII": record(field("x", "int"), name="Bestellung\u00dcbernommen"),
    "a name used before its definition": record(field("x", "E"), field("y", enum("a"))),
    "a definition given twice": record(field("x", enum("a")), field("y", enum("a"))),
    "an alias that is a field": BOTH_NAMES,
    "an alias of two fields": record(field("x", "int", aliases=["z"]), field("y", "int", aliases=["z"])),
    "an alias that is its own name": record(field("x", "int", aliases=["x"])),
}
