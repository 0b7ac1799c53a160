"""The AsyncAPI document of the system: servers, a channel for each topic, and what each service sends and receives."""

import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from confluent_kafka.cimpl import NewTopic

from chassis.events.topics import dead_letter_topic, redrive_topic
from chassis.service import Service
from docs.contracts.examples import example_of, newest_schema
from docs.contracts.headers import ALL_EVENTS, cloudevents_headers
from docs.contracts.messages import (
    BINDING_VERSION,
    DEAD_LETTER,
    REDRIVEN_RECORD,
    dead_letter,
    message_of,
    redriven_record,
)
from docs.contracts.system import System
from fanout.local import registry
from fanout.local.ports import DEFAULT_BASE, HOST, Ports
from fanout.repository import REPOSITORY
from schemas import Event

HEAD = "# Written by `make docs` from contracts, topics and handlers; `make check` compares.\n"
DESCRIPTION = """\
Services publish events to Kafka and react to each other's.

A value is one zero byte, the id of the writer's schema in the registry (4 bytes, big-endian), and the event in Avro
binary. Get the schema by its id, and decode with the newest version that you know as the reader's schema: all versions
of an event are FULL_TRANSITIVE compatible.

Events of one aggregate are in one topic, in order by key. Between topics there is no order. Delivery is at least
once: deduplicate by the header ce_id. Read with isolation level read_committed, in a group of your own.

The schema format names Avro 1.9.0, the only one that AsyncAPI knows; the contracts use nothing that is newer.
"""
SCRAM = "scram"
LISTENERS = {
    "compose": (
        "kafka:9092",
        "http://registry-proxy:8080/apis/ccompat/v7",
        "in the network of the containers",
    ),
    "compose-host": (
        "127.0.0.1:8121",
        "http://127.0.0.1:8123/apis/ccompat/v7",
        "for programs on the machine that runs the containers",
    ),
}
"""Where Kafka and the registry are with docker-compose.yml, and for whom."""


def document(system: System) -> dict[str, Any]:
    """Returns the document. Raises NoExample or UndescribedHeader."""
    return {
        "asyncapi": "3.1.0",
        "info": _info(),
        "defaultContentType": "application/avro",
        "servers": _servers(),
        "channels": dict(_channels(system)),
        "operations": dict(_operations(system)),
        "components": _components(system),
    }


def to_yaml(asyncapi: dict[str, Any]) -> str:
    """Returns the document as YAML without anchors, in its own order."""
    body: str = yaml.dump(asyncapi, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)
    return HEAD + body


class _Plain(yaml.SafeDumper):  # type: ignore[misc]
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Plain, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _represent_text)


def _info() -> dict[str, Any]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return {
        "title": "Fanout",
        "version": project["version"],
        "description": DESCRIPTION,
        "license": {"name": project["license"]},
    }


def _servers() -> dict[str, Any]:
    ports = Ports(DEFAULT_BASE)
    local = _server(
        f"{HOST}:{ports.kafka}", registry.url(ports), "`fanout up`, unless FANOUT_PORT_BASE moves its ports"
    )
    containers = {
        name: _server(host, url, f"`docker compose up`, {reader}")
        | {"security": [{"$ref": f"#/components/securitySchemes/{SCRAM}"}]}
        for name, (host, url, reader) in LISTENERS.items()
    }
    return {"local": local} | containers


def _server(host: str, registry_url: str, summary: str) -> dict[str, Any]:
    return {
        "host": host,
        "protocol": "kafka",
        "summary": summary,
        "bindings": {
            "kafka": {
                "schemaRegistryUrl": registry_url,
                "schemaRegistryVendor": "apicurio",
                "bindingVersion": BINDING_VERSION,
            }
        },
    }


def _channels(system: System) -> Iterator[tuple[str, dict[str, Any]]]:
    described = _described(system)
    for topic in system.topics:
        summary, tag, messages = described[topic.topic]
        channel = {
            "address": topic.topic,
            "summary": summary,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            "tags": [{"name": tag}],
            "bindings": {"kafka": _topic_binding(topic)},
        }
        yield topic.topic, channel


def _described(system: System) -> dict[str, tuple[str, str, list[str]]]:
    """Returns summary, tag and messages of each topic."""
    publishers = {service.topic: service.name for service in system.services if service.topic}
    described = {
        topic: (
            f"Events of {publishers.get(topic, 'no service')}.",
            "events",
            _names(system.events_of(topic)),
        )
        for topic in {event.TOPIC for event in system.events}
    }
    for consumer, topic in system.subscriptions:
        parked = f"Records of {topic} that {consumer} could not process."
        described[dead_letter_topic(topic, consumer)] = (parked, "dead letters", [DEAD_LETTER])
        again = f"Dead letters of {topic} on their way back to {consumer}, which alone reads this topic."
        described[redrive_topic(topic, consumer)] = (again, "redrive", [REDRIVEN_RECORD])
    return described


def _topic_binding(topic: NewTopic) -> dict[str, Any]:
    config = dict(sorted((topic.config or {}).items()))
    settings = {name: int(value) if value.isdecimal() else value for name, value in config.items()}
    return {
        "topic": topic.topic,
        "partitions": topic.num_partitions,
        "replicas": topic.replication_factor,
        "topicConfiguration": settings,
        "bindingVersion": BINDING_VERSION,
    }


def _operations(system: System) -> Iterator[tuple[str, dict[str, Any]]]:
    for service in system.services:
        yield from _publications(system, service)
        yield from _subscriptions(system, service)
        if service.dead_letter_handler:
            yield from _dead_letter_operations(system, service)


def _publications(system: System, service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    if service.topic and (events := _names(system.events_of(service.topic))):
        summary = f"{service.name} publishes {_listed(events)}."
        yield _operation(service, "send", service.topic, events, summary)


def _subscriptions(system: System, service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    for topic in sorted({event.TOPIC for event in service.handlers}):
        handled = system.handled(service, topic)
        handlers = {event.NAME: service.handlers[event].__name__ for event in handled}
        summary = f"{service.name} handles {_listed(handlers)}, and ignores other types."
        name, operation = _operation(service, "receive", topic, handlers, summary)
        yield name, operation | {"x-handlers": handlers}
        parked = f"{service.name} parks what it cannot process."
        yield _operation(service, "send", dead_letter_topic(topic, service.name), [DEAD_LETTER], parked)
        redriven = f"{service.name} takes up again what was redriven."
        yield _operation(service, "receive", redrive_topic(topic, service.name), [REDRIVEN_RECORD], redriven)


def _dead_letter_operations(system: System, service: Service) -> Iterator[tuple[str, dict[str, Any]]]:
    for consumer, topic in system.subscriptions:
        stored = f"{service.name} stores what {consumer} parked."
        yield _operation(service, "receive", dead_letter_topic(topic, consumer), [DEAD_LETTER], stored)
        redriven = f"{service.name} redrives to {consumer} what an operator chose."
        yield _operation(service, "send", redrive_topic(topic, consumer), [REDRIVEN_RECORD], redriven)


def _operation(
    service: Service, action: str, topic: str, messages: Iterable[str], summary: str
) -> tuple[str, dict[str, Any]]:
    operation = {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{topic}/messages/{name}"} for name in messages],
        "tags": [{"name": service.name}],
    }
    if action == "receive":
        group = {"type": "string", "enum": [service.name]}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING_VERSION}}
    return f"{service.name}.{action}.{topic}", operation | {"x-service": service.name}


def _components(system: System) -> dict[str, Any]:
    messages = {event.NAME: message_of(event) for event in system.events}
    first = system.events[0]
    sample = first.from_record(example_of(first, newest_schema(first)))
    return {
        "messages": messages | {DEAD_LETTER: dead_letter(), REDRIVEN_RECORD: redriven_record()},
        "schemas": {ALL_EVENTS: cloudevents_headers(sample)},
        "securitySchemes": {
            SCRAM: {
                "type": "scramSha512",
                "description": "A login for each process: docs/containers.md.",
            }
        },
    }


def _names(events: Iterable[type[Event]]) -> list[str]:
    return [event.NAME for event in events]


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
