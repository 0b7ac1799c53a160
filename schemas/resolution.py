"""Decides by Avro's schema resolution whether every value of a writer's schema can be read with a reader's.

The rules are those of Avro 1.12, section "Schema Resolution", and stricter in one point: what the rules allow but what
changes values without a word is a mismatch, too (decision 0084).
"""

from collections.abc import Iterator, Sequence
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
    SchemaError,
    Type,
    Union,
    branch_name,
    describe,
    parse_avro,
)

PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
CHANGES_VALUES = {
    ("int", "float"): "an int above 2^24 loses digits in a float",
    ("long", "float"): "a long above 2^24 loses digits in a float",
    ("long", "double"): "a long above 2^53 loses digits in a double",
    ("bytes", "string"): "bytes that are not UTF-8 are no string",
}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One cause for which a value of the writer cannot be read, or changes, and where.

    `kind` is one of: missing (the writer has no such field and the reader's has no default), aliased (the same, and a
    field of the writer has the name as an alias), ambiguous (the writer has several fields for one of the reader's),
    type, branch (of a union), symbols, name, size, logical, lossy (a promotion that changes values), order (of a
    union's branches). `names` are the symbols or branches that the reader does not know, or the fields in question.
    """

    path: str
    kind: str
    reader: str
    writer: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        names = f" ({', '.join(self.names)})" if self.names else ""
        return f"{self.path}: {self.kind}{names}: {self.writer} cannot be read as {self.reader}"


def mismatches(reader: Any, writer: Any) -> list[Mismatch]:
    """Returns why not every value of `writer` can be read with `reader`; nothing if it can. Raises SchemaError."""
    return resolve(parse_avro(reader), parse_avro(writer))


def resolve(reader: Type, writer: Type, root: str | None = None) -> list[Mismatch]:
    """Returns the mismatches of two parsed schemas. Their paths begin with `root`, by default the reader's name."""
    try:
        found = _Resolution().types(reader, writer, root or getattr(reader, "short", "") or describe(reader))
        return list(dict.fromkeys(found))
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error


class _Resolution:
    """Walks two schemas together, each pair of records once: so recursive schemas end."""

    def __init__(self) -> None:
        self._compared: set[tuple[int, int]] = set()

    def types(self, reader: Type, writer: Type, path: str) -> Iterator[Mismatch]:
        match reader, writer:
            case (Union(), _) | (_, Union()):
                yield from self._unions(reader, writer, path)
            case Record(), Record():
                yield from self._records(reader, writer, path)
            case Array(items), Array(written):
                yield from self.types(items, written, f"{path}[]")
            case Map(values), Map(written):
                yield from self.types(values, written, f"{path}{{}}")
            case _:
                yield from _leaves(reader, writer, path)

    def _records(self, reader: Record, writer: Record, path: str) -> Iterator[Mismatch]:
        if (id(reader), id(writer)) in self._compared:
            return
        self._compared.add((id(reader), id(writer)))
        yield from _names(reader, writer, path)
        written = {field.name: field for field in writer.fields}
        for wanted in reader.fields:
            names = dict.fromkeys((wanted.name, *wanted.aliases))
            sources = [written[name] for name in names if name in written]
            if sources or wanted.has_default:
                yield from self._field(wanted, sources, f"{path}.{wanted.name}")
            else:
                yield _missing(wanted, reader, writer, f"{path}.{wanted.name}")

    def _field(self, wanted: Field, sources: list[Field], path: str) -> Iterator[Mismatch]:
        if len(sources) > 1:
            names = tuple(source.name for source in sources)
            yield Mismatch(path, "ambiguous", describe(wanted.type), describe(sources[0].type), names)
        elif sources:
            yield from self.types(wanted.type, sources[0].type, path)

    def _unions(self, reader: Type, writer: Type, path: str) -> Iterator[Mismatch]:
        """Each branch that may be written is read with the first branch of the reader that matches it."""
        readers, writers = _branches(reader), _branches(writer)
        unknown, misread = [], []
        for index, written in enumerate(writers):
            taken = _taken(written, readers, writers[:index]) or _renamed(written, readers, writers)
            for branch in taken:
                if isinstance(branch, Primitive) and branch is not taken[-1]:
                    misread.append((branch_name(written), branch_name(branch)))
                else:
                    yield from self.types(branch, written, path + _step(written, readers, writers))
            if not taken:
                unknown.append(branch_name(written))
        if unknown:
            yield Mismatch(path, "branch", describe(reader), describe(writer), tuple(unknown))
        if changed := [kinds for kinds in misread if kinds in CHANGES_VALUES or kinds == ("string", "bytes")]:
            yield Mismatch(path, "order", describe(reader), describe(writer), changed[0])


def _taken(written: Type, readers: tuple[Type, ...], before: tuple[Type, ...]) -> Sequence[Type]:
    """Returns the branches that a written one may be read with: the first that matches, and then the same one.

    The specification says the first. Some implementations prefer the same type to an earlier one that matches, so both
    must do, unless the writer's union has the two in this order itself: then nothing has changed.
    """
    matching = [branch for branch in readers if _matches(branch, written)]
    same = [branch for branch in matching if branch_name(branch) == branch_name(written)]
    if same and branch_name(matching[0]) in map(branch_name, before):
        return same
    return list({id(branch): branch for branch in [*matching[:1], *same]}.values())


def _renamed(written: Type, readers: tuple[Type, ...], writers: tuple[Type, ...]) -> Sequence[Type]:
    """Returns the branch that seems to be the written one under another name; nothing if none or several do."""
    if not isinstance(written, Record | Enum | Fixed):
        return []
    free = [branch for branch in readers if not any(_matches(branch, other) for other in writers)]
    alike = [branch for branch in free if type(branch) is type(written)]
    return alike if len(alike) == 1 else []


def _step(written: Type, readers: tuple[Type, ...], writers: tuple[Type, ...]) -> str:
    """Returns the part of a path that names the branch; nothing if there is one branch only, beside null."""
    several = any(len({*map(branch_name, branches)} - {"null"}) > 1 for branches in (readers, writers))
    return f"<{branch_name(written).rpartition('.')[2]}>" if several else ""


def _missing(wanted: Field, reader: Record, writer: Record, path: str) -> Mismatch:
    """Returns the mismatch with what the field may be called now: by an alias, or as the only new one of its type."""
    kind = describe(wanted.type)
    if renamed := [field.name for field in writer.fields if wanted.name in field.aliases]:
        return Mismatch(path, "aliased", kind, "nothing", tuple(renamed))
    read = {name for field in reader.fields for name in (field.name, *field.aliases)}
    unread = [field for field in writer.fields if field.name not in read]
    alike = tuple(field.name for field in unread if describe(field.type) == kind)
    return Mismatch(path, "missing", kind, "nothing", alike)


def _leaves(reader: Type, writer: Type, path: str) -> Iterator[Mismatch]:
    """Yields the mismatches of two types that contain no others, or that are of different kinds."""
    was, now = describe(writer), describe(reader)
    match reader, writer:
        case Enum(), Enum():
            yield from _names(reader, writer, path)
            unknown = tuple(symbol for symbol in writer.symbols if symbol not in reader.symbols)
            if unknown and reader.default is None:
                yield Mismatch(path, "symbols", now, was, unknown)
        case Fixed(), Fixed():
            yield from _names(reader, writer, path)
            if reader.size != writer.size:
                yield Mismatch(path, "size", str(reader.size), str(writer.size))
            elif reader.logical != writer.logical:
                yield Mismatch(path, "logical", reader.logical or "", writer.logical or "")
        case Primitive(), Primitive():
            if not _matches(reader, writer):
                yield Mismatch(path, "type", now, was)
            elif (writer.kind, reader.kind) in CHANGES_VALUES:
                yield Mismatch(path, "lossy", now, was, (CHANGES_VALUES[writer.kind, reader.kind],))
            elif reader.logical != writer.logical:
                yield Mismatch(path, "logical", reader.logical or "", writer.logical or "")
        case _:
            yield Mismatch(path, "type", now, was)


def _names(reader: Record | Enum | Fixed, writer: Record | Enum | Fixed, path: str) -> Iterator[Mismatch]:
    if not _same_name(reader, writer):
        yield Mismatch(path, "name", describe(reader), describe(writer))


def _matches(reader: Type, writer: Type) -> bool:
    """Returns whether the reader's type is one that resolution takes for the writer's, whatever is inside."""
    match reader, writer:
        case Primitive(kind), Primitive(written):
            return kind == written or kind in PROMOTIONS.get(written, ())
        case (Record() | Enum() | Fixed(), Record() | Enum() | Fixed()):
            return type(reader) is type(writer) and _same_name(reader, writer)
        case _:
            return type(reader) is type(writer)


def _same_name(reader: Record | Enum | Fixed, writer: Record | Enum | Fixed) -> bool:
    return reader.short == writer.short or writer.name in reader.aliases


def _branches(kind: Type) -> tuple[Type, ...]:
    return kind.branches if isinstance(kind, Union) else (kind,)
