"""docs/asyncapi.yaml is valid AsyncAPI, and says what topics, contracts, handlers and rights say."""

import gzip
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import yaml
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

import schemas
from chassis.service import Service, load
from docs.contracts.asyncapi import document, to_yaml
from docs.contracts.messages import AVRO
from docs.contracts.system import System, read_system
from fanout.compose.permissions import rights
from fanout.local import registry
from fanout.local.ports import DEFAULT_BASE, Ports
from fanout.provision.topics import wanted
from fanout.repository import services
from schemas import EVENTS, Event, OrderPlaced, PaymentRefunded
from schemas.files import subject_of, versions_of
from tests.support.contract_documents import PUBLISHED, errors_of, read_document
from tests.support.stack import REPOSITORY

DOCUMENT = read_document()
EVENT_CHANNELS = {
    name: channel for name, channel in DOCUMENT["channels"].items() if channel["tags"] == [{"name": "events"}]
}
LOADED = [load(name) for name in services()]

each_event = pytest.mark.parametrize("event_type", EVENTS, ids=lambda event_type: event_type.NAME)


def test_the_document_satisfies_asyncapis_own_schema() -> None:
    assert errors_of(DOCUMENT) == []


def test_asyncapis_own_schema_is_the_published_file() -> None:
    (published,) = re.findall(r"\b[0-9a-f]{64}\b", PUBLISHED.with_name("NOTICE").read_text())
    assert hashlib.sha256(gzip.decompress(PUBLISHED.read_bytes())).hexdigest() == published


def without_an_action(broken: dict[str, Any]) -> None:
    del broken["operations"]["orders.send.orders"]["action"]


def with_another_version_of_asyncapi(broken: dict[str, Any]) -> None:
    broken["asyncapi"] = "2.6.0"


def with_an_unknown_attribute_of_a_channel(broken: dict[str, Any]) -> None:
    broken["channels"]["orders"]["adress"] = "orders"


def with_the_schema_id_in_an_unknown_place(broken: dict[str, Any]) -> None:
    kafka_of(broken, "OrderPlaced")["schemaIdLocation"] = "trailer"


def with_an_unknown_version_of_the_binding(broken: dict[str, Any]) -> None:
    kafka_of(broken, "OrderPlaced")["bindingVersion"] = "9.9.9"


def with_no_partitions(broken: dict[str, Any]) -> None:
    broken["channels"]["orders"]["bindings"]["kafka"]["partitions"] = 0


def with_retention_as_text(broken: dict[str, Any]) -> None:
    settings = broken["channels"]["orders"]["bindings"]["kafka"]["topicConfiguration"]
    settings["retention.ms"] = "7 days"


def with_a_payload_that_is_not_avro(broken: dict[str, Any]) -> None:
    payload_of(broken, "OrderPlaced")["fields"][0]["type"] = {"type": "decimal(9,2)"}


def with_a_field_without_a_name(broken: dict[str, Any]) -> None:
    del payload_of(broken, "OrderPlaced")["fields"][0]["name"]


def with_an_empty_example(broken: dict[str, Any]) -> None:
    broken["components"]["messages"]["OrderPlaced"]["examples"] = [{"name": "example"}]


def with_a_server_without_a_host(broken: dict[str, Any]) -> None:
    del broken["servers"]["local"]["host"]


def with_a_group_that_is_no_schema(broken: dict[str, Any]) -> None:
    broken["operations"]["fraud.receive.orders"]["bindings"]["kafka"]["groupId"] = "fraud"


def kafka_of(broken: dict[str, Any], message: str) -> dict[str, Any]:
    binding: dict[str, Any] = broken["components"]["messages"][message]["bindings"]["kafka"]
    return binding


def payload_of(broken: dict[str, Any], message: str) -> dict[str, Any]:
    schema: dict[str, Any] = broken["components"]["messages"][message]["payload"]["schema"]
    return schema


MUTATIONS = (
    without_an_action,
    with_another_version_of_asyncapi,
    with_an_unknown_attribute_of_a_channel,
    with_the_schema_id_in_an_unknown_place,
    with_an_unknown_version_of_the_binding,
    with_no_partitions,
    with_retention_as_text,
    with_a_payload_that_is_not_avro,
    with_a_field_without_a_name,
    with_an_empty_example,
    with_a_server_without_a_host,
    with_a_group_that_is_no_schema,
)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_document_is_refused(mutate: Callable[[dict[str, Any]], None]) -> None:
    broken = read_document()
    mutate(broken)
    assert errors_of(broken)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in found, reference
            found = found[step]


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if "$ref" in part else [])
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_operation_names_messages_of_its_own_channel() -> None:
    for name, operation in DOCUMENT["operations"].items():
        assert operation["messages"], name
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{operation['channel']['$ref']}/messages/"), name


def test_the_channels_are_the_topics_that_setup_creates() -> None:
    subscriptions = [(service.name, event.TOPIC) for service in LOADED for event in service.handlers]
    created = {
        topic.topic: (topic.num_partitions, topic.config)
        for topic in wanted({event.TOPIC for event in EVENTS}, subscriptions)
    }
    described = {
        channel["address"]: (kafka["partitions"], {k: str(v) for k, v in kafka["topicConfiguration"].items()})
        for channel in DOCUMENT["channels"].values()
        for kafka in [channel["bindings"]["kafka"]]
    }
    assert described == created
    assert list(DOCUMENT["channels"]) == [channel["address"] for channel in DOCUMENT["channels"].values()]


def test_the_operations_are_what_the_workers_may_do_in_kafka() -> None:
    verbs = {"write": "send", "read": "receive"}
    allowed = {
        (right.principal.removesuffix("_worker"), verbs[right.operation], right.name)
        for right in rights(LOADED)
        if right.kind == "topic" and right.principal.endswith("_worker")
    }
    described = [
        (each["x-service"], each["action"], each["channel"]["$ref"].removeprefix("#/channels/"))
        for each in DOCUMENT["operations"].values()
    ]
    assert sorted(described) == sorted(allowed)


def test_every_receiving_operation_names_its_consumer_group() -> None:
    for operation in DOCUMENT["operations"].values():
        group = operation.get("bindings", {}).get("kafka", {}).get("groupId")
        is_receiving = operation["action"] == "receive"
        assert group == ({"type": "string", "enum": [operation["x-service"]]} if is_receiving else None)
        assert operation["tags"] == [{"name": operation["x-service"]}]


def test_every_event_is_a_message_of_its_own_topic_and_of_no_other() -> None:
    described = [
        (name, message) for name, channel in EVENT_CHANNELS.items() for message in channel["messages"]
    ]
    assert sorted(described) == sorted((event.TOPIC, event.NAME) for event in EVENTS)


@each_event
def test_an_event_is_published_by_the_owner_of_its_topic_alone(event_type: type[Event]) -> None:
    owners = [service.name for service in LOADED if service.topic == event_type.TOPIC]
    publishers = [
        each["x-service"]
        for each in DOCUMENT["operations"].values()
        if each["action"] == "send" and message_ref(event_type) in each["messages"]
    ]
    assert publishers == owners
    assert len(owners) == 1


def message_ref(event_type: type[Event]) -> dict[str, str]:
    return {"$ref": f"#/channels/{event_type.TOPIC}/messages/{event_type.NAME}"}


@pytest.mark.parametrize("service", LOADED, ids=lambda service: service.name)
def test_every_handler_of_a_service_is_in_exactly_one_operation(service: Service) -> None:
    handlers = sorted((event.NAME, handler.__name__) for event, handler in service.handlers.items())
    receiving = [
        each
        for each in DOCUMENT["operations"].values()
        if each["x-service"] == service.name and "x-handlers" in each
    ]
    assert sorted(pair for each in receiving for pair in each["x-handlers"].items()) == handlers
    for operation in receiving:
        names = [reference["$ref"].rpartition("/")[2] for reference in operation["messages"]]
        assert names == list(operation["x-handlers"])


@each_event
def test_a_message_has_what_the_registry_has(event_type: type[Event]) -> None:
    message = DOCUMENT["components"]["messages"][event_type.NAME]
    versions = versions_of(event_type)
    assert message["payload"] == {"schemaFormat": AVRO, "schema": json.loads(versions[-1][1])}
    assert message["x-subject"] == subject_of(event_type)
    files = [(each["version"], (REPOSITORY / each["schema"]).read_text()) for each in message["x-versions"]]
    assert files == versions


@each_event
def test_a_message_says_where_its_schema_id_is(event_type: type[Event]) -> None:
    kafka = DOCUMENT["components"]["messages"][event_type.NAME]["bindings"]["kafka"]
    assert kafka["schemaIdLocation"] == "payload"
    assert kafka["schemaIdPayloadEncoding"] == "confluent"
    assert event_type.KEY in kafka["key"]["description"]


def test_the_servers_are_where_kafka_and_the_registry_listen() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
    inside = compose["x-worker"]["environment"]
    published = {
        service: f"127.0.0.1:{re.findall(r':-([0-9]+)}', compose['services'][service]['ports'][0])[0]}"
        for service in ("kafka", "registry-proxy")
    }
    local = Ports(DEFAULT_BASE)
    assert {name: addresses(server) for name, server in DOCUMENT["servers"].items()} == {
        "local": (f"127.0.0.1:{local.kafka}", registry.url(local)),
        "compose": (inside["FANOUT_KAFKA"], inside["FANOUT_REGISTRY_URL"]),
        "compose-host": (published["kafka"], f"http://{published['registry-proxy']}/apis/ccompat/v7"),
    }


def addresses(server: dict[str, Any]) -> tuple[str, str]:
    return server["host"], server["bindings"]["kafka"]["schemaRegistryUrl"]


def test_the_same_system_makes_the_same_document_every_time() -> None:
    assert to_yaml(document(read_system())) == to_yaml(document(read_system()))


def test_a_new_handler_changes_the_document() -> None:
    loyalty = Service("loyalty", MetaData())

    @loyalty.on(OrderPlaced)
    async def award(orders: Sequence[OrderPlaced], db: AsyncConnection) -> None: ...

    changed = document(System([*LOADED, loyalty], EVENTS))
    assert changed["channels"].keys() - DOCUMENT["channels"].keys() == {
        "orders.loyalty.dlq",
        "orders.loyalty.retry",
    }
    assert changed["operations"]["loyalty.receive.orders"]["x-handlers"] == {"OrderPlaced": "award"}


def test_a_new_event_changes_the_document() -> None:
    before = document(System(LOADED, [event for event in EVENTS if event is not PaymentRefunded]))
    new = DOCUMENT["components"]["messages"].keys() - before["components"]["messages"].keys()
    assert new == {"PaymentRefunded"}
    assert message_ref(PaymentRefunded) in DOCUMENT["operations"]["payments.send.payments"]["messages"]
    assert message_ref(PaymentRefunded) not in before["operations"]["payments.send.payments"]["messages"]


def test_every_event_of_the_contracts_is_described() -> None:
    assert DOCUMENT["components"]["messages"].keys() == {
        *(event.NAME for event in schemas.EVENTS),
        "DeadLetter",
        "RedrivenRecord",
    }
