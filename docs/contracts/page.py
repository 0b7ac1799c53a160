"""The contracts as one static HTML page, read from the AsyncAPI and OpenAPI documents alone."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from mako.template import Template

Document = Mapping[str, Any]

TEMPLATE = Path(__file__).with_name("page.html.mako")
EVENTS = "events"
METHODS = ("get", "post", "put", "patch", "delete")


def to_html(asyncapi: Document, apis: Mapping[str, Document]) -> str:
    template = Template(filename=str(TEMPLATE), default_filters=["str", "h"])
    html: str = template.render(
        doc=asyncapi,
        topics=list(topics(asyncapi)),
        dead_letters=[asyncapi["components"]["messages"][name] for name in ("DeadLetter", "RedrivenRecord")],
        headers=list(headers(asyncapi["components"]["schemas"]["CloudEventsHeaders"])),
        headers_of=headers,
        apis={service: list(routes(api)) for service, api in apis.items()},
        as_json=as_json,
        prose=prose,
    )
    return html


@dataclass(frozen=True, slots=True)
class Listener:
    """A service that reads a topic, with its handler by event type, and the topics that belong to it."""

    service: str
    handlers: Mapping[str, str]
    dead_letter_topic: str
    redrive_topic: str


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field with the path by which it is reached, such as `lines[].quantity`."""

    path: str
    type: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class EventSection:
    """An event type, who listens to it, and its fields."""

    message: Mapping[str, Any]
    listeners: list[str]
    fields: list[FieldRow]

    @property
    def name(self) -> str:
        return str(self.message["name"])

    @property
    def key(self) -> str:
        return str(self.message["payload"]["schema"]["key"])


@dataclass(frozen=True, slots=True)
class TopicSection:
    """A topic of events, who publishes to it and who listens."""

    name: str
    publishers: list[str]
    listeners: list[Listener]
    events: list[EventSection]
    partitions: int
    retention: str


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of an HTTP API."""

    method: str
    path: str
    purpose: str
    parameters: str
    body: str
    answer: str


def topics(asyncapi: Document) -> Iterator[TopicSection]:
    for name, channel in asyncapi["channels"].items():
        if [tag["name"] for tag in channel["tags"]] != [EVENTS]:
            continue
        listeners = list(_listeners(asyncapi, name))
        binding = channel["bindings"]["kafka"]
        messages = [asyncapi["components"]["messages"][message] for message in channel["messages"]]
        yield TopicSection(
            name,
            [each["x-service"] for each in _operations(asyncapi, name, "send")],
            listeners,
            [_event(message, listeners) for message in messages],
            binding["partitions"],
            duration(binding["topicConfiguration"]["retention.ms"]),
        )


def _listeners(asyncapi: Document, topic: str) -> Iterator[Listener]:
    for operation in _operations(asyncapi, topic, "receive"):
        service = operation["x-service"]
        beside = f"{topic}.{service}"
        yield Listener(service, operation["x-handlers"], f"{beside}.dlq", f"{beside}.retry")


def _operations(asyncapi: Document, topic: str, action: str) -> list[Mapping[str, Any]]:
    wanted = (action, f"#/channels/{topic}")
    return [
        each
        for each in asyncapi["operations"].values()
        if (each["action"], each["channel"]["$ref"]) == wanted
    ]


def _event(message: Mapping[str, Any], listeners: list[Listener]) -> EventSection:
    services = [listener.service for listener in listeners if message["name"] in listener.handlers]
    return EventSection(message, services, list(fields(message["payload"]["schema"])))


def fields(record: Mapping[str, Any], prefix: str = "") -> Iterator[FieldRow]:
    """Yields a row for each field, and after it those of the records inside it."""
    for field in record["fields"]:
        path = f"{prefix}{field['name']}"
        default = json.dumps(field["default"]) if "default" in field else ""
        yield FieldRow(path, type_name(field["type"]), default, field["doc"])
        inner, suffix = _innermost(field["type"], "")
        if isinstance(inner, dict) and inner["type"] == "record":
            yield from fields(inner, f"{path}{suffix}.")


def type_name(kind: Any) -> str:
    match kind:
        case [*branches]:
            return " or ".join(
                type_name(branch) for branch in sorted(branches, key=lambda each: each == "null")
            )
        case {"type": "array", "items": items}:
            return f"array of {type_name(items)}"
        case {"type": "map", "values": values}:
            return f"map of {type_name(values)}"
        case {"type": "enum", "name": name, "symbols": symbols}:
            return f"{name}: {', '.join(symbols)}"
        case {"name": name}:
            return str(name)
        case {"type": inner}:
            return type_name(inner)
        case _:
            return str(kind)


def _innermost(kind: Any, suffix: str) -> tuple[Any, str]:
    """Returns the type inside arrays, maps and nullables, and `[]` for each array."""
    match kind:
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            return _innermost(inner, f"{suffix}[]")
        case ["null", inner]:
            return _innermost(inner, suffix)
        case _:
            return kind, suffix


def headers(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields name, constant value (or "") and description of each header."""
    for name, header in schema["properties"].items():
        yield name, header.get("const", ""), header["description"]


def routes(openapi: Document) -> Iterator[Route]:
    for path, operations in openapi["paths"].items():
        for method in METHODS:
            if operation := operations.get(method):
                yield _route(method, path, operation)


def _route(method: str, path: str, operation: Mapping[str, Any]) -> Route:
    parameters = [each["name"] for each in operation.get("parameters", []) if each["in"] != "path"]
    status, answer = min(operation["responses"].items())
    return Route(
        method.upper(),
        path,
        operation.get("description", operation["summary"].capitalize()).split("\n\n")[0],
        ", ".join(parameters),
        _content(operation.get("requestBody", {})),
        f"{status} {_content(answer)}".strip(),
    )


def _content(body: Mapping[str, Any]) -> str:
    schemas = [content.get("schema", {}) for content in body.get("content", {}).values()]
    return ", ".join(_schema_name(schema) for schema in schemas)


def _schema_name(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"array of {_schema_name(schema['items'])}"
    return str(schema.get("$ref", schema.get("type", ""))).rpartition("/")[2]


def duration(milliseconds: int) -> str:
    """604800000: 7 days."""
    span = timedelta(milliseconds=milliseconds)
    return f"{span.days} days" if span == timedelta(days=span.days) else str(span)


def prose(text: str) -> str:
    """Returns the text as HTML, with what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
