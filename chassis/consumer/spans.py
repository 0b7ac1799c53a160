"""The spans of a batch: one for the batch with a link to each message, and one for each message that is sampled.

The span of a message has the context in which the message was created as its parent. What is redriven, fails or is
parked and is not sampled gets a span all the same, as the root of another trace, with a link to that context.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import structlog

from chassis.consumer.retry import Stopped
from chassis.events.record import DecodedRecord, Record
from chassis.events.topics import REDRIVE
from chassis.masking import describe
from chassis.telemetry import traces
from chassis.telemetry.span import Attributes, Exemplar, Span
from chassis.telemetry.trace_context import Traced, linked

_current: ContextVar["BatchSpans | None"] = ContextVar("batch_spans", default=None)


@contextmanager
def spans_of_batch(
    consumer: str, records: Sequence[Record], is_wanted: Callable[[Record], bool], replayed_until: int = 0
) -> Iterator[Callable[[], Exemplar | None]]:
    """Records what this task does with the records that have a handler; yields what names the batch's span."""
    wanted = [each for each in records if is_wanted(each)] if traces.is_on() else []
    if not wanted:
        yield _no_exemplar
        return
    spans = BatchSpans(consumer, wanted, replayed_until)
    token = _current.set(spans)
    spans.begin()
    try:
        yield spans.exemplar
    except Exception as error:
        if not isinstance(error, Stopped):
            spans.broken(error)
        raise
    finally:
        _current.reset(token)
        spans.end()


def parents_of(records: Iterable[DecodedRecord]) -> Mapping[str, Traced]:
    """Returns, by aggregate id, what events continue that follow from these: the span that handles each, or itself.

    What is said of another aggregate follows from the batch as a whole, and continues its span, if that is recorded.
    """
    spans = _current.get()
    if spans is None:
        return {each.event.key: each.record for each in records}
    others: dict[str, Traced] = {"": spans.batch} if spans.batch else {}
    return others | {each.event.key: spans.parent_of(each.record) for each in records}


def settled(records: Iterable[Record], outcome: str, is_redelivered: bool = False) -> None:
    """Ends the spans of messages, after the commit."""
    if spans := _current.get():
        spans.settled(records, outcome, is_redelivered)


def failed(records: Sequence[Record], error: BaseException) -> None:
    """Records a failed attempt; of a message that was tried alone it is the message's failure."""
    if spans := _current.get():
        spans.failed(records, error)


def parked(records: Iterable[tuple[Record, Exception]]) -> None:
    """Ends the spans of messages that were parked, after the commit."""
    if spans := _current.get():
        spans.parked(records)


def log_fields(record: Record) -> dict[str, object]:
    """Returns the fields that name a record in a log line, with the ids of the span that handles it, if it has one."""
    own = spans.own.get(record.offset) if (spans := _current.get()) else None
    return {**record.log_fields, **(traces.exemplar(own) or {})}


def exemplar() -> Exemplar | None:
    """Returns what names the span of this batch for a histogram, if it is recorded."""
    return spans.exemplar() if (spans := _current.get()) else None


def is_recording() -> bool:
    return _current.get() is not None


def _no_exemplar() -> None:
    return None


class BatchSpans:
    """The spans of one batch, which is of one partition."""

    def __init__(self, consumer: str, records: Sequence[Record], replayed_until: int) -> None:
        self.own: dict[int, Span] = {}
        """By offset, the spans of messages that are not settled yet."""
        self._began_ns = time.time_ns()
        self._consumer = consumer
        self._records = records
        self._contexts = [each.trace_context for each in records]
        self._replayed_until = replayed_until
        self._failures: dict[int, BaseException] = {}
        self.batch: Span | None = None
        self._name = f"process {records[0].topic}"
        self._about: Attributes = {
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": records[0].topic,
            "messaging.destination.partition.id": str(records[0].partition),
            "messaging.consumer.group.name": consumer,
        }

    def begin(self) -> None:
        if traces.has_span_per_event():
            for record, context in zip(self._records, self._contexts, strict=True):
                if context is None or context.is_sampled:
                    self._start(record)
        if self.own or any(context and context.is_sampled for context in self._contexts):
            self._start_batch()
        if self._records[0].topic.endswith(REDRIVE):
            for record in self._records:
                if record.redrive:
                    self._start(record, always=True)

    def parent_of(self, record: Record) -> Traced:
        """Returns the span of the message, unless that is in another trace: its events stay in the message's."""
        span = self.own.get(record.offset)
        if span is None:
            return record
        context = record.trace_context
        return span if context is None or context.trace_id == span.context.trace_id else record

    def settled(self, records: Iterable[Record], outcome: str, is_redelivered: bool = False) -> None:
        for record in records if self.own else ():
            if span := self.own.pop(record.offset, None):
                span.set({"fanout.outcome": outcome})
                if outcome == "applied" and record.offset in self._failures:
                    span.set_ok()
                if is_redelivered:
                    span.set({"fanout.redelivered": True})
                span.end()

    def failed(self, records: Sequence[Record], error: BaseException) -> None:
        if len(records) == 1 and (own := self._start(records[0], always=True)):
            self._fail(own, records[0], error)
        if len(records) > 1 and (batch := self._start_batch()):
            batch.exception(error, {"messaging.batch.message_count": len(records)})

    def broken(self, error: BaseException) -> None:
        """Records an error that ends the session: its records are read again."""
        if batch := self._start_batch():
            batch.exception(error)
            batch.set_error(describe(error))

    def parked(self, records: Iterable[tuple[Record, Exception]]) -> None:
        for record, error in records:
            if span := self._start(record, always=True):
                self._fail(span, record, error)
                span.set({"fanout.parked": True})
                span.set_error(describe(error))
                self.settled([record], "parked")
            if self.batch:
                self.batch.set_error(f"a message was parked: {describe(error)}")

    def _fail(self, span: Span, record: Record, error: BaseException) -> None:
        """Adds the error to the message's span, unless it is there already."""
        if self._failures.get(record.offset) is not error:
            self._failures[record.offset] = error
            span.exception(error)

    def end(self) -> None:
        """Ends what is not ended yet: messages that nothing was decided about."""
        self.settled([each for each in self._records if each.offset in self.own], "interrupted")
        if self.batch:
            structlog.contextvars.unbind_contextvars("trace_id", "span_id")
            self.batch.end()

    def _start(self, record: Record, always: bool = False) -> Span | None:
        """Returns the message's span. `always`: also if it is not sampled, as the root of another trace."""
        if span := self.own.get(record.offset):
            return span
        context = record.trace_context
        span = traces.start(self._name, traces.CONSUMER, context, start_ns=self._began_ns)
        if span is None and always:
            links = [(context, None)] if context else []
            span = traces.start(self._name, traces.CONSUMER, None, links, None, self._began_ns, always=True)
        if span:
            span.set({**self._about, **_about(record), **self._replayed(record)})
            self.own[record.offset] = span
        return span

    def _start_batch(self) -> Span | None:
        if self.batch is None:
            links = [(context, None) for context in linked(self._contexts)]
            count = {"messaging.batch.message_count": len(self._records)}
            about = {**self._about, **count, **self._replayed(self._records[0])}
            self.batch = traces.start(
                self._name, traces.CONSUMER, None, links, about, self._began_ns, always=True
            )
            if self.batch:
                context = self.batch.context
                structlog.contextvars.bind_contextvars(trace_id=context.trace_id, span_id=context.span_id)
        return self.batch

    def _replayed(self, record: Record) -> Attributes:
        return {"fanout.replayed": True} if record.offset < self._replayed_until else {}

    def exemplar(self) -> Exemplar | None:
        return traces.exemplar(self.batch)


def _about(record: Record) -> Attributes:
    about: dict[str, str | int | float | bool] = {
        "messaging.kafka.offset": record.offset,
        "messaging.kafka.message.key": (record.key or b"").decode("utf-8", "replace"),
        "messaging.message.id": record.header("ce_id"),
        "fanout.event_id": record.header("ce_id"),
        "fanout.event_type": record.header("ce_type"),
        "fanout.order_id": record.header("ce_subject"),
    }
    return {**about, "fanout.redrive": record.redrive} if record.redrive else about
