"""Every version of every contract goes into the registry, which refuses one that would break another."""

from collections.abc import Iterable

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from fanout.errors import BreakingSchema

COMPATIBILITY = "FULL_TRANSITIVE"
NOT_FOUND = 404


def register_all(url: str) -> list[str]:
    """What that registry did not have before."""
    from schemas import EVENTS
    from schemas.files import subject_of, versions_of

    with SchemaRegistryClient({"url": url}) as registry:
        changes = ensure_compatibility(registry)
        for event in EVENTS:
            changes += ensure_versions(registry, subject_of(event), versions_of(event))
    return changes


def ensure_compatibility(registry: SchemaRegistryClient) -> list[str]:
    """First of all: the registry's own default lets everything pass."""
    if registry.get_compatibility() == COMPATIBILITY:
        return []
    registry.set_compatibility(level=COMPATIBILITY)
    return [f"compatibility {COMPATIBILITY}"]


def ensure_versions(
    registry: SchemaRegistryClient, subject: str, texts: Iterable[tuple[int, str]]
) -> list[str]:
    """`texts` are pairs of version and schema, oldest first."""
    return [
        f"{subject} version {number}" for number, text in texts if _register(registry, subject, number, text)
    ]


def _register(registry: SchemaRegistryClient, subject: str, number: int, text: str) -> bool:
    """True when the registry did not have it before."""
    schema = Schema(text, "AVRO")
    if _is_known(registry, subject, schema):
        return False
    try:
        registry.register_schema(subject, schema)
    except SchemaRegistryError as error:
        raise BreakingSchema(subject, number, error.error_message) from error
    return True


def _is_known(registry: SchemaRegistryClient, subject: str, schema: Schema) -> bool:
    try:
        registry.lookup_schema(subject, schema)
    except SchemaRegistryError as error:
        if error.http_status_code == NOT_FOUND:
            return False
        raise
    return True
