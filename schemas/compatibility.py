"""Says whether a new version of a schema breaks an old one: where, why, who would fail, and what to do instead."""

import re
from dataclasses import dataclass
from typing import Any

from schemas.avro_types import SchemaError, parse_avro
from schemas.resolution import Mismatch, mismatches, resolve

__all__ = ["Break", "Mismatch", "SchemaError", "breaks", "mismatches"]

VALUE = ("type", "branch", "size", "logical", "lossy", "order")
MISREAD = ("logical", "lossy", "order")
DECIMAL = re.compile(r"decimal\((?P<precision>\d+), (?P<scale>\d+)\)")
BESIDE = "add a new field with a default, or publish a new event type beside this one"


@dataclass(frozen=True, slots=True)
class Break:
    """One cause for which code of one version cannot read events of the other."""

    path: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Cause:
    """What was found at one path: by readers of the old version on new events, by readers of the new on old ones."""

    path: str
    kind: str
    by_old: Mismatch | None
    by_new: Mismatch | None


def breaks(old: Any, new: Any, old_version: int, new_version: int) -> list[Break]:
    """Returns why readers of one version cannot read all events of the other. Raises SchemaError.

    Nothing means that both may be deployed in any order, and rolled back (`FULL` in a schema registry).
    """
    before, after = parse_avro(old), parse_avro(new)
    root = getattr(after, "short", None)
    found = _paired(resolve(before, after, root), resolve(after, before, root))
    wording = _Wording(f"v{old_version}", f"v{new_version}")
    return [wording.explain(cause) for cause in found]


def _paired(by_old: list[Mismatch], by_new: list[Mismatch]) -> list[Cause]:
    """Returns one cause for what both sides find at one path, and for a field that has a new name."""
    found: list[Cause] = []
    left = list(by_new)
    for mismatch in by_old:
        other = next((one for one in left if _is_same_cause(mismatch, one)), None)
        if other:
            left.remove(other)
        found.append(_cause(mismatch, other))
    return found + [_cause(None, mismatch) for mismatch in left]


def _cause(by_old: Mismatch | None, by_new: Mismatch | None) -> Cause:
    """A side that only misreads is left out beside one that fails: the failure is what must be mended."""
    found = [mismatch for mismatch in (by_old, by_new) if mismatch]
    fails = [mismatch for mismatch in found if mismatch.kind not in MISREAD]
    left = fails or found
    return Cause(left[0].path, left[0].kind, *(one if one in left else None for one in (by_old, by_new)))


def _is_same_cause(by_old: Mismatch, by_new: Mismatch) -> bool:
    if by_old.kind == by_new.kind == "missing":
        gone, come = by_old.path.rpartition("."), by_new.path.rpartition(".")
        return gone[0] == come[0] and by_old.names == come[2:] and by_new.names == gone[2:]
    if by_old.path != by_new.path:
        return False
    return by_old.kind == by_new.kind or (by_old.kind in VALUE and by_new.kind in VALUE)


@dataclass(frozen=True, slots=True)
class _Wording:
    old: str
    new: str

    def explain(self, cause: Cause) -> Break:
        reason, remedy = self._words(cause)
        return Break(cause.path, f"{reason}; {self._who(cause)}", remedy)

    def _who(self, cause: Cause) -> str:
        verb = "would misread it" if cause.kind in MISREAD else "would fail"
        if not cause.by_old:
            return f"readers of {self.new} {verb} on events of {self.old}"
        if not cause.by_new:
            return f"readers of {self.old} {verb}"
        return f"readers of {self.old} {verb}, and readers of {self.new} on events of {self.old}"

    def _words(self, cause: Cause) -> tuple[str, str]:
        match cause.kind:
            case "missing" | "aliased":
                return self._field(cause)
            case "ambiguous":
                return self._ambiguous(cause)
            case "symbols":
                return self._symbols(cause)
            case "name":
                return self._name(cause)
            case "branch":
                return self._branch(cause)
            case "size":
                was, now = _was_and_now(cause)
                return f"fixed size changed from {was} to {now}", f"keep the size, and {BESIDE}"
            case "logical":
                return _logical(*_was_and_now(cause)), f"keep the logical type, and {BESIDE}"
            case "order":
                return self._order(cause)
            case _:
                return self._type(cause)

    def _field(self, cause: Cause) -> tuple[str, str]:
        if not cause.by_old:
            return "added without default", 'give it a default, best as ["null", …] with the default null'
        field, names = cause.path.rpartition(".")[2], cause.by_old.names
        if len(names) != 1:
            only = f"only a field that has a default in {self.old} can be removed"
            return "removed without default", f"keep {field} and stop using it; {only}"
        alias = self._alias(helps=cause.kind == "aliased")
        beside = f"keep {field}, and add {names[0]} beside it as a new field with a default"
        return f"renamed to {names[0]} {alias}", beside

    def _alias(self, helps: bool) -> str:
        return f"and its alias helps readers of {self.new} only" if helps else "without alias"

    def _ambiguous(self, cause: Cause) -> tuple[str, str]:
        whose, names = self.new if cause.by_new else self.old, " and ".join(_either(cause).names)
        remedy = "remove the alias, and give the field a name of its own"
        return f"{whose} takes both {names} for this field", remedy

    def _symbols(self, cause: Cause) -> tuple[str, str]:
        if not cause.by_old:
            removed = _list("symbol", _either(cause).names)
            return f"enum {removed} removed", "keep the symbol and stop using it"
        remedy = f"leave the enum as it is, and {BESIDE}"
        if not cause.by_new:
            added = _list("symbol", cause.by_old.names)
            return f"enum {added} added, for which {self.old} has no default", remedy
        replaced = _list("symbol", cause.by_new.names)
        return f"enum {replaced} replaced by {', '.join(cause.by_old.names)}", remedy

    def _name(self, cause: Cause) -> tuple[str, str]:
        (kind, was, *_), (_, now, *_) = (words.split() for words in _was_and_now(cause))
        alias = self._alias(helps=not cause.by_new)
        return f"{kind} renamed from {was} to {now} {alias}", f"keep the name {was}, or {BESIDE}"

    def _branch(self, cause: Cause) -> tuple[str, str]:
        was, now = _was_and_now(cause)
        names = _either(cause).names
        both_unions = was.startswith("[") and now.startswith("[")
        if cause.by_new and not cause.by_old and names == ("null",):
            return "null is no longer allowed", "keep null in its type"
        if cause.by_old and not cause.by_new and names == ("null",):
            return "null is allowed now", f"keep it as it is, and {BESIDE}"
        if both_unions and not cause.by_old:
            return f"union {_list('branch', names)} removed", "keep the branch and stop writing it"
        if both_unions and not cause.by_new:
            return f"union {_list('branch', names)} added", f"keep the union as it is, and {BESIDE}"
        return self._type(cause)

    def _order(self, cause: Cause) -> tuple[str, str]:
        kinds = _either(cause).names
        return f"union branches reordered, so that {kinds[0]} may be read as {kinds[1]}", "keep the order"

    def _type(self, cause: Cause) -> tuple[str, str]:
        was, now = _was_and_now(cause)
        but = f", which Avro allows, but {_either(cause).names[0]}" if cause.kind == "lossy" else ""
        return f"type changed from {was} to {now}{but}", f"keep the type, and {BESIDE}"


def _either(cause: Cause) -> Mismatch:
    mismatch = cause.by_old or cause.by_new
    assert mismatch
    return mismatch


def _was_and_now(cause: Cause) -> tuple[str, str]:
    """Returns the old and the new type in words."""
    if cause.by_old:
        return cause.by_old.reader, cause.by_old.writer
    return _either(cause).writer, _either(cause).reader


def _logical(was: str, now: str) -> str:
    decimals = [DECIMAL.fullmatch(logical) for logical in (was, now)]
    if decimals[0] and decimals[1]:
        for parameter in ("scale", "precision"):
            before, after = decimals[0][parameter], decimals[1][parameter]
            if before != after:
                return f"decimal {parameter} changed from {before} to {after}"
    if not was or not now:
        return f"logical type {was or now} {'removed' if was else 'added'}"
    return f"logical type changed from {was} to {now}"


def _list(noun: str, names: tuple[str, ...]) -> str:
    plural = {"symbol": "symbols", "branch": "branches"}[noun]
    return f"{noun if len(names) == 1 else plural} {', '.join(names)}"
