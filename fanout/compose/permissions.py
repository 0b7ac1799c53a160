"""What each login may do in Kafka and Postgres; nothing that is not listed here or in a grants.sql is allowed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import asyncpg
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from chassis.events.topics import dead_letter_topic, redrive_topic
from chassis.service import Service, load
from fanout import truncation
from fanout.compose.logins import EXPORTER, OPERATOR, ServiceContainer, apis, processes
from fanout.errors import SetupFailed
from fanout.lag.grants import grants as exporter_grants
from fanout.repository import REPOSITORY

ANSWER_SECONDS = 30
ITERATIONS = 4096
DECIDED = ("set_aside_at", "error_type", "error_message", "discarded_at", "discarded_by", "discard_reason")
_fields = attrgetter(
    "restype", "name", "resource_pattern_type", "principal", "host", "operation", "permission_type"
)
"""Returns a binding as the arguments of a filter for exactly this binding."""
EVERYTHING: Any = (
    *(ResourceType.ANY, None, ResourcePatternType.ANY, None, None),
    *(AclOperation.ANY, AclPermissionType.ANY),
)
SENT_AGAIN = ("published_at", "kafka_partition", "kafka_offset", "topic_id")
CLEARED_BY_REPLAY = ("inbox", "consumer_offsets", "parked", "crash_markers", "ignored_events", "purges")


@dataclass(frozen=True, order=True)
class Right:
    """`kind` is topic or group, `operation` read, write, describe or describe_configs.

    Reading and writing include describing, but not a topic's settings.
    """

    principal: str
    operation: str
    kind: str
    name: str


def rights(services: Iterable[Service]) -> set[Right]:
    """Returns all rights in Kafka: those of each service's worker, of the operator, and of the exporter."""
    known = list(services)
    workers = {right for service in known for right in _of_worker(service, known)}
    return workers | set(_of_operator(known)) | set(_of_exporter(known))


def _of_worker(service: Service, all_services: list[Service]) -> Iterator[Right]:
    """Kafka has no pattern that ends in .dlq, so the dead-letter consumer has one right for each such topic."""
    login = ServiceContainer(service.name, "worker").login
    reads = set(service.topics)
    writes = {dead_letter_topic(topic, service.name) for topic in event_topics(service)}
    if service.topic:
        writes.add(service.topic)
    if service.dead_letter_handler:
        pairs = [(topic, other.name) for other in all_services for topic in event_topics(other)]
        reads |= {dead_letter_topic(*pair) for pair in pairs}
        writes |= {redrive_topic(*pair) for pair in pairs}
    yield from (Right(login, "read", "topic", name) for name in reads)
    yield from (Right(login, "write", "topic", name) for name in writes)
    if reads:
        yield Right(login, "read", "group", service.name)


def _of_operator(services: list[Service]) -> Iterator[Right]:
    """The operator reads every topic, and may move the offsets of every group, which is what a replay does."""
    yield from (Right(OPERATOR, "read", "group", service.name) for service in services)
    yield from _of_reader(OPERATOR, services)


def _of_exporter(services: list[Service]) -> Iterator[Right]:
    """The exporter reads single records for their time, and where groups are, which it cannot change."""
    yield from (Right(EXPORTER, "describe", "group", service.name) for service in services)
    yield from _of_reader(EXPORTER, services)


def _of_reader(login: str, services: list[Service]) -> Iterator[Right]:
    """Reads every topic, and its settings: until when Kafka keeps a record."""
    for service in services:
        for topic in event_topics(service):
            for name in (topic, dead_letter_topic(topic, service.name), redrive_topic(topic, service.name)):
                yield Right(login, "read", "topic", name)
                yield Right(login, "describe_configs", "topic", name)


def event_topics(service: Service) -> set[str]:
    """The topics of the events that the service handles, without its redrive topics."""
    return {event_type.TOPIC for event_type in service.handlers}


def set_passwords(admin: AdminClient, passwords: dict[str, str]) -> None:
    """Kafka does not tell passwords, so they cannot be compared: each is set again."""
    kind = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ITERATIONS)
    wanted: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, kind, password.encode()) for user, password in passwords.items()
    ]
    for done in admin.alter_user_scram_credentials(wanted, request_timeout=ANSWER_SECONDS).values():
        done.result()


def ensure_rights(admin: AdminClient, rights: set[Right]) -> list[str]:
    """Adds the missing rights in Kafka, removes all others, and returns a sentence for each change."""
    wanted = {_fields(binding): binding for binding in map(_binding, rights)}
    found = set(map(_fields, admin.describe_acls(AclBindingFilter(*EVERYTHING)).result(ANSWER_SECONDS)))
    missing = [binding for key, binding in wanted.items() if key not in found]
    excess = found - wanted.keys()
    if missing:
        for done in admin.create_acls(missing, request_timeout=ANSWER_SECONDS).values():
            done.result()
    if excess:
        filters = [AclBindingFilter(*key) for key in excess]
        for gone in admin.delete_acls(filters, request_timeout=ANSWER_SECONDS).values():
            gone.result()
    added = sorted({binding.principal for binding in missing})
    rights_of = [f"rights of {principal.removeprefix('User:')}" for principal in added]
    return rights_of + [f"{key[1]} is closed to {key[3]} again" for key in excess]


def _binding(right: Right) -> AclBinding:
    return AclBinding(
        ResourceType[right.kind.upper()],
        right.name,
        ResourcePatternType.LITERAL,
        f"User:{right.principal}",
        "*",
        AclOperation[right.operation.upper()],
        AclPermissionType.ALLOW,
    )


async def grant(db: asyncpg.Connection, service: str) -> None:
    """Replaces all rights in one service's database in one transaction, so that no login lacks its own meanwhile."""
    async with db.transaction():
        for statement in _grants(service):
            try:
                await db.execute(statement)
            except asyncpg.PostgresError as error:
                raise SetupFailed(f"the rights in the database of {service} were refused: {error}") from error


def _grants(service: str) -> Iterator[str]:
    """The worker has the rights of `worker_grants`, the API those of its grants.sql; no login may alter a table."""
    worker, api, found = ServiceContainer(service, "worker"), ServiceContainer(service, "api"), load(service)
    has_api = api in apis()
    everyone = ", ".join([OPERATOR, EXPORTER, *(process.login for process in processes())])
    ours = ", ".join([worker.login, OPERATOR, EXPORTER, *([api.login] if has_api else [])])
    own_tables = list(found.metadata.tables)
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everyone}"
    yield f"REVOKE ALL ON DATABASE {service} FROM {everyone}"
    yield f"GRANT CONNECT ON DATABASE {service} TO {ours}"
    yield f"GRANT TEMPORARY ON DATABASE {service} TO {OPERATOR}"  # for the views of fanout sql
    yield from worker_grants(found, worker.login)
    if has_api:
        yield _grants_of_api(service)
    yield from exporter_grants(service, EXPORTER)
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {OPERATOR}"
    yield f"GRANT UPDATE ({', '.join((*DECIDED, *SENT_AGAIN))}) ON outbox TO {OPERATOR}"
    yield f"GRANT INSERT, UPDATE (rows) ON resends TO {OPERATOR}"
    if found.read_model:
        yield f"GRANT DELETE ON {', '.join([*own_tables, *CLEARED_BY_REPLAY])} TO {OPERATOR}"
        yield f"GRANT INSERT ON purges TO {OPERATOR}"
    if service == truncation.SERVICE:
        yield from truncation.functions_for(OPERATOR)


def worker_grants(service: Service, login: str) -> Iterator[str]:
    """Yields the GRANT statements of a service's worker: chassis/grants.sql, and all rights on the service's tables."""
    yield (REPOSITORY / "chassis" / "grants.sql").read_text().format(worker=login)
    if own_tables := list(service.metadata.tables):
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(own_tables)} TO {login}"


def _grants_of_api(service: str) -> str:
    file = REPOSITORY / "services" / service / "grants.sql"
    if not file.exists():
        raise SetupFailed(
            f"services/{service} has an api.py and no grants.sql: write there what {service}_api may do"
        )
    return file.read_text()
