"""The registry: its compatibility levels, and whether it has every contract."""

from collections.abc import Mapping, Sequence

from confluent_kafka.schema_registry import SchemaRegistryClient

from fanout.console import some
from fanout.contracts.registry import LEVEL, history, lowered_levels, open_registry
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.readiness import unregistered
from schemas import EVENTS
from schemas.files import subject_of, versions_of


def levels(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    with open_registry(around.addresses.registry_url) as registry:
        return [
            *lowered(lowered_levels(registry, [subject_of(event) for event in EVENTS])),
            missing(_missing(registry)),
        ]


def lowered(found: Mapping[str, str]) -> list[Finding]:
    """`found`: the levels that are not FULL_TRANSITIVE, by subject; "" is the one that holds for all others."""
    if not found:
        return [Finding("ok", "registry", f"compatibility {LEVEL}, for each subject and by default")]
    return [
        Finding(
            "wrong",
            "registry",
            f"compatibility {level} {f'of {subject}' if subject else 'by default'}",
            "the registry accepts a contract that its readers cannot read",
            "fanout setup",
        )
        for subject, level in found.items()
    ]


def missing(versions: Sequence[str]) -> Finding:
    if not versions:
        return Finding("ok", "registry", "every version of every contract is registered")
    return Finding(
        "wrong",
        "registry",
        f"not registered: {some(versions)}",
        "events of these types wait in their outboxes",
        "fanout setup",
    )


async def workers(around: Surroundings) -> list[Finding]:
    """Asks the workers which contracts they miss."""
    if around.addresses is None:
        return []
    return [
        Finding("wrong", "workers", sentence, "its events wait in its outbox", "fanout setup")
        for sentence in await unregistered(around.addresses.workers)
    ]


def _missing(registry: SchemaRegistryClient) -> list[str]:
    found = []
    for event in EVENTS:
        subject = subject_of(event)
        registered = {each.number for each in history(registry, subject)}
        found += [f"{subject} v{number}" for number, _ in versions_of(event) if number not in registered]
    return found
