"""The W3C trace contexts of what a task works on, which the events that it publishes continue."""

import re
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

TRACEPARENT = re.compile(r"00-(?P<trace_id>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

NO_CONTEXTS: Mapping[str, str] = MappingProxyType({})
_parent_contexts: ContextVar[Mapping[str, str]] = ContextVar("parent_contexts", default=NO_CONTEXTS)
"""The traceparent of the event or request that is being handled, by aggregate id; "" stands for all aggregates."""


def set_parent_contexts(traceparents: Mapping[str, str]) -> None:
    """Sets the parents of the events that this task publishes from now on: traceparents by aggregate id."""
    _parent_contexts.set(traceparents)


def current_traceparent() -> str:
    """Returns the traceparent of the request that is being handled, or "" outside a request."""
    return _parent_contexts.get().get("", "")


def traceparent_for(aggregate_id: str) -> str:
    """Returns a new span in the trace of the aggregate's parent context, or in a new trace (W3C, version 00)."""
    contexts = _parent_contexts.get()
    parent = TRACEPARENT.fullmatch(contexts.get(aggregate_id, contexts.get("", "")))
    trace_id = parent["trace_id"] if parent else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def trace_id_of(traceparent: str) -> str:
    """Returns the trace id, or "" if `traceparent` is not valid."""
    match = TRACEPARENT.fullmatch(traceparent)
    return match["trace_id"] if match else ""
