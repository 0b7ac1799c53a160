"""The live registry: registers contracts, keeps every compatibility level at FULL_TRANSITIVE, and reads them back."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from fanout.errors import BreakingSchema, FanoutError, SetupFailed, Unreachable

LEVEL = "FULL_TRANSITIVE"
EVERYWHERE = ""
"""The subject of the level that holds for all subjects without one of their own."""
NOT_FOUND, SERVER_ERROR = 404, 500


@dataclass(frozen=True, slots=True)
class Registered:
    """A version as the registry has it. `number` counts from 1 as the files do; `schema_id` is in the messages."""

    number: int
    schema_id: int
    text: str


@contextmanager
def open_registry(url: str) -> Iterator[SchemaRegistryClient]:
    """Yields a client. Raises Unreachable if registry or database do not answer, FanoutError if it refuses."""
    try:
        with SchemaRegistryClient({"url": url, "max.retries": 0}) as registry:
            yield registry
    except httpx2.HTTPError as error:  # of confluent's client
        raise Unreachable("the schema registry", url) from error
    except SchemaRegistryError as error:
        if error.http_status_code >= SERVER_ERROR:
            raise Unreachable("the schema registry", url) from error
        raise FanoutError(
            f"the schema registry at {url} refuses: {error.error_message} ({error.http_status_code}): "
            "fanout setup, then try again"
        ) from error


def register_contracts(url: str) -> list[str]:
    """Registers every schema version, oldest first, and returns what is new; BreakingSchema if one is refused."""
    from schemas import EVENTS
    from schemas.files import subject_of, versions_of

    with open_registry(url) as registry:
        changes = _raise_level(registry, EVERYWHERE)
        for event in EVENTS:
            subject = subject_of(event)
            new = [
                f"{subject} version {number}"
                for number, text in versions_of(event)
                if _register(registry, subject, number, text)
            ]
            raised = _raise_level(registry, subject)
            changes += new or raised
        return changes


def lowered_levels(registry: SchemaRegistryClient, subjects: list[str]) -> dict[str, str]:
    """Returns the level of each subject that may break its readers; EVERYWHERE is the one of all other subjects."""
    levels = {subject: _level(registry, subject) for subject in [EVERYWHERE, *subjects]}
    return {subject: level for subject, level in levels.items() if level != LEVEL}


def history(registry: SchemaRegistryClient, subject: str) -> list[Registered]:
    """Returns all versions of a subject, oldest first; none if the registry does not know it."""
    try:
        numbers = registry.get_versions(subject)
        found = [(number, registry.get_version(subject, number)) for number in numbers]
    except SchemaRegistryError as error:
        if error.http_status_code == NOT_FOUND:
            return []
        raise
    return [Registered(number, each.schema_id or 0, each.schema.schema_str or "") for number, each in found]


def accepts(registry: SchemaRegistryClient, subject: str, text: str) -> bool:
    """Returns the registry's verdict on a next version of the subject, which is not registered by asking."""
    try:
        return bool(registry.test_compatibility_all_versions(subject, Schema(text, "AVRO")))
    except SchemaRegistryError as error:
        if error.http_status_code == NOT_FOUND:
            return True
        if error.http_status_code in (409, 422):
            return False
        raise


def _register(registry: SchemaRegistryClient, subject: str, number: int, text: str) -> bool:
    """Returns True if the registry did not have it before. Raises BreakingSchema or SetupFailed."""
    schema = Schema(text, "AVRO")
    is_new = False
    try:
        registered = registry.lookup_schema(subject, schema)
    except SchemaRegistryError as error:
        if error.http_status_code != NOT_FOUND:
            raise
        try:
            registry.register_schema(subject, schema)
        except SchemaRegistryError as refusal:
            raise BreakingSchema(subject, number, refusal.error_message) from refusal
        registered, is_new = registry.lookup_schema(subject, schema), True
    if registered.version != number:
        raise SetupFailed(
            f"{subject} version {number} is number {registered.version} in the registry, whose history is not that of "
            "schemas/: fanout schemas diff"
        )
    return is_new


def _raise_level(registry: SchemaRegistryClient, subject: str) -> list[str]:
    """Sets the level if it is another one, and returns what changed."""
    found = _level(registry, subject)
    if found == LEVEL:
        return []
    registry.set_compatibility(subject or None, LEVEL)
    return [f"compatibility {LEVEL}{f' of {subject}' if subject else ''}, it was {found}"]


def _level(registry: SchemaRegistryClient, subject: str) -> str:
    """Returns the level; NONE for a subject without one of its own, as this registry says it."""
    try:
        return str(registry.get_compatibility(subject or None))
    except SchemaRegistryError as error:
        if error.http_status_code == NOT_FOUND:
            return "NONE"
        raise
