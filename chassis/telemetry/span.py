"""What the chassis knows of a span, without OpenTelemetry."""

from collections.abc import Mapping
from typing import Protocol

from chassis.telemetry.trace_context import TraceContext

Attributes = Mapping[str, str | int | float | bool]
Exemplar = dict[str, str]
Link = tuple[TraceContext, Attributes | None]


class Span(Protocol):
    """A span that is being recorded."""

    @property
    def context(self) -> TraceContext: ...

    @property
    def trace_context(self) -> TraceContext | None: ...

    def set(self, attributes: Attributes) -> None: ...

    def rename(self, name: str) -> None: ...

    def exception(self, error: BaseException, attributes: Attributes = ...) -> None: ...

    def set_error(self, reason: str) -> None: ...

    def set_ok(self) -> None: ...

    def end(self, end_ns: int | None = None) -> None: ...
