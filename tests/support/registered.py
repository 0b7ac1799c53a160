"""Schemas under a subject of a test's own in a real registry, as the set-up of another release would register them."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient


@contextmanager
def registered(registry_url: str, subject: str, *texts: str) -> Iterator[list[int]]:
    """Registers the versions and yields their ids; the subject is deleted at the end."""
    with SchemaRegistryClient({"url": registry_url}) as registry:
        try:
            yield [registry.register_schema(subject, Schema(text, "AVRO")) for text in texts]
        finally:
            registry.delete_subject(subject)
            registry.delete_subject(subject, permanent=True)
