"""Encodes spans as OTLP asks, by hand: with the SDK's objects a span takes 50 µs and each of its links 4.

Messages of protobuf are sequences of fields in any order, each with a tag: the number of the field and how it is
encoded. tests/unit/test_encoding.py compares the result with what the SDK makes of the same spans.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import pack
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext

LOCAL, REMOTE = pack("<I", 0x100), pack("<I", 0x300)
"""Flags: whether a context came from another process is known, and whether it did."""
LOCAL_LINK, REMOTE_LINK = b"\x35" + LOCAL, b"\x35" + REMOTE
LOCAL_PARENT, REMOTE_PARENT = b"\x85\x01" + LOCAL, b"\x85\x01" + REMOTE
INVALID = SpanContext(0, 0, is_remote=False)
SHORT = 30
Value = str | bool | int | float


def encode(spans: Sequence[ReadableSpan]) -> bytes:
    """Returns a serialized ExportTraceServiceRequest."""
    by_resource: dict[Any, dict[Any, list[ReadableSpan]]] = {}
    for span in spans:
        of_resource = by_resource.setdefault(span.resource, {})
        of_resource.setdefault(span.instrumentation_scope, []).append(span)
    return b"".join(_field(b"\x0a", _resource_spans(each)) for each in by_resource.values())


def _resource_spans(by_scope: Mapping[Any, Sequence[ReadableSpan]]) -> bytes:
    """Lets the SDK encode resource and scope, around an empty span that is then left out."""
    encoded = b""
    for spans in by_scope.values():
        empty = ReadableSpan(
            "", INVALID, resource=spans[0].resource, instrumentation_scope=spans[0].instrumentation_scope
        )
        frame: Any = encode_spans([empty]).resource_spans[0]
        scope = frame.scope_spans[0]
        del scope.spans[:], frame.scope_spans[:]
        of_scope = scope.SerializeToString() + b"".join([_field(b"\x12", _span(span)) for span in spans])
        encoded += (b"" if encoded else frame.SerializeToString()) + _field(b"\x12", of_scope)
    return encoded


def _span(span: ReadableSpan) -> bytes:
    context, parent, status = span.context, span.parent, span.status
    assert context
    fields = [
        _ids(context),
        b"\x2a" + _text(span.name),
        b"\x30" + _varint(span.kind.value + 1),
        b"\x39" + pack("<Q", span.start_time or 0),
        b"\x41" + pack("<Q", span.end_time or 0),
        *[b"\x4a" + _attribute(name, value) for name, value in _items(span.attributes)],
        *[_field(b"\x5a", _event(event)) for event in span.events],
        *[_field(b"\x6a", _link(link)) for link in span.links],
        REMOTE_PARENT if parent and parent.is_remote else LOCAL_PARENT,
    ]
    if context.trace_state:
        fields.append(b"\x1a" + _text(context.trace_state.to_header()))
    if parent:
        fields.append(b"\x22\x08" + parent.span_id.to_bytes(8, "big"))
    description = b"\x12" + _text(status.description) if status.description else b""
    fields.append(_field(b"\x7a", description + b"\x18" + _varint(status.status_code.value)))
    return b"".join(fields)


def _event(event: Event) -> bytes:
    attributes = [b"\x1a" + _attribute(name, value) for name, value in _items(event.attributes)]
    return b"\x09" + pack("<Q", event.timestamp) + b"\x12" + _text(event.name) + b"".join(attributes)


def _link(link: Link) -> bytes:
    encoded = _ids(link.context) + (REMOTE_LINK if link.context.is_remote else LOCAL_LINK)
    if not link.attributes:
        return encoded
    return encoded + b"".join(b"\x22" + _attribute(name, value) for name, value in _items(link.attributes))


def _ids(context: SpanContext) -> bytes:
    return (
        b"\x0a\x10" + context.trace_id.to_bytes(16, "big") + b"\x12\x08" + context.span_id.to_bytes(8, "big")
    )


def _items(attributes: Mapping[str, Any] | None) -> Iterable[tuple[str, Value]]:
    return attributes.items() if attributes else ()


def _attribute(name: str, value: Value) -> bytes:
    """Returns a KeyValue with its length. Short texts come again and again; ids and numbers do not."""
    if isinstance(value, str) and len(value) < SHORT:
        return _remembered(name, value)
    return _key_value(name, value)


@lru_cache(4096)
def _remembered(name: str, value: str) -> bytes:
    return _key_value(name, value)


def _key_value(name: str, value: Value) -> bytes:
    return _with_length(_key(name) + _field(b"\x12", _value(value)))


@lru_cache(256)
def _key(name: str) -> bytes:
    return b"\x0a" + _text(name)


def _value(value: Value) -> bytes:
    if isinstance(value, str):
        return b"\x0a" + _text(value)
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value % 2**64)
    return b"\x21" + pack("<d", value)


def _text(text: str) -> bytes:
    return _with_length(text.encode("utf-8", "replace"))


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _with_length(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if number < 0x80:
        return SINGLE_BYTES[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


SINGLE_BYTES = [bytes([number]) for number in range(0x80)]
