"""W3C trace contexts: read from headers, and continued by the events that a task publishes.

Follows the recommendation "Trace Context" (level 1): ids of zeros only and version ff are refused, a higher version
than 00 is read as far as it is known and sent on as 00, and the sampled flag is kept.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple, Protocol

TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
VERSION_00 = r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$"
"""What is written, as a pattern for documents."""
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
SAMPLED = 1

KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
MEMBER = re.compile(rf"{KEY}=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]", re.ASCII)
MEMBERS = 32
TRACESTATE_CHARACTERS = 512


class TraceContext(NamedTuple):
    """The ids of a span, whether its trace is recorded, and whether they came from another process."""

    trace_id: str
    span_id: str
    is_sampled: bool
    tracestate: str = ""
    is_remote: bool = True

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"

    @property
    def trace_context(self) -> "TraceContext":
        return self


class Traced(Protocol):
    """A request, a record or a span: what has a trace context, or had an invalid one."""

    @property
    def trace_context(self) -> TraceContext | None: ...


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Returns the W3C trace context in two headers; None if `traceparent` is invalid. Drops an invalid `tracestate`."""
    found = TRACEPARENT.fullmatch(traceparent)
    if not found:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (rest and version == "00") or trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    is_sampled = bool(int(flags, 16) & SAMPLED)
    return TraceContext(trace_id, span_id, is_sampled, tracestate and valid_tracestate(tracestate))


def linked(contexts: Iterable[TraceContext | None]) -> list[TraceContext]:
    """Returns those that the span of a batch links to: of traces that are recorded, or all if none is."""
    valid = [context for context in contexts if context]
    return [context for context in valid if context.is_sampled] or valid


def context_in(headers: Mapping[str, bytes | None]) -> TraceContext | None:
    """Returns the context in a message's headers, or None if they have no valid one."""
    traceparent, tracestate = headers.get("traceparent"), headers.get("tracestate")
    if not traceparent:
        return None
    return parse(
        traceparent.decode("ascii", "replace"), tracestate.decode("ascii", "replace") if tracestate else ""
    )


def valid_tracestate(header: str) -> str:
    """Returns the members of the list without spaces around them, or "" if one is not valid, repeats or is too many."""
    if not header:
        return ""
    members = [member.strip(" \t") for member in header.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    is_valid = len(keys) == len(members) <= MEMBERS and all(map(MEMBER.fullmatch, members))
    joined = ",".join(members)
    return joined if is_valid and len(joined) <= TRACESTATE_CHARACTERS else ""


def trace_id_of(traceparent: str) -> str:
    """Returns the trace id, or "" if `traceparent` is not valid."""
    context = parse(traceparent)
    return context.trace_id if context else ""


def new_root() -> TraceContext:
    """Returns the context of a trace that nobody records; its id joins what belongs together."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8), False)


NO_PARENTS: Mapping[str, Traced] = MappingProxyType({})
_parents: ContextVar[Mapping[str, Traced]] = ContextVar("parents", default=NO_PARENTS)
"""What is being handled: events by aggregate id, or a request as ""; the latter stands for all aggregates."""


def set_parents(parents: Mapping[str, Traced]) -> None:
    """Sets the parents of the events that this task publishes from now on, by aggregate id."""
    _parents.set(parents)


def parent_of(aggregate_id: str) -> TraceContext | None:
    """Returns the context that an event of this aggregate continues, or None if it begins a trace."""
    parents = _parents.get()
    parent = parents.get(aggregate_id) or parents.get("")
    return parent.trace_context if parent else None
