"""Classifies errors: the class of an error decides whether its message is parked, retried, or waits for the system.

Exception
├── PermanentFailure                 the message can never be processed      → parked at the first failure
│   ├── Undecodable                    events/avro.py: bytes that are not an event
│   ├── ForeignSchemaId                events/avro.py: a schema that is no version of the event's contract
│   ├── Unresolvable                   events/projection.py: the writer's schema cannot be read with ours
│   ├── InvalidEvent                   events/validation.py: our own event does not fit its contract
│   ├── UnsafeSchema                   events/writer_schema.py: a schema that is dangerous to read with
│   └── UnknownSchemaId                events/registry.py: an id that the registry does not have
├── TransientFailure                 the next attempt may succeed            → retried in place, then parked
└── InfrastructureFailure            the system's fault, not the message's   → never parked: wait and retry
    ├── DatabaseRestored               consumer/offsets.py: the partition has to be opened again
    ├── KafkaUnavailable               events/kafka_topics.py: no answer about a topic
    ├── RegistryUnavailable            events/registry.py: no answer, or not one of a schema registry
    └── SchemaNotRegistered            events/registry.py: set-up has not registered our schema yet

| class          | errors of this class                                                                           |
|----------------|------------------------------------------------------------------------------------------------|
| permanent      | undecodable bytes, a broken domain rule, a database constraint, a bug: all that is not named below |
| transient      | TransientFailure, an internal error of Postgres                                                |
| infrastructure | Postgres, Kafka or the registry unreachable; Postgres locked, read-only, out of connections or |
|                | not yet migrated; a deadlock or a serialization failure                                        |

SQLSTATES classifies what Postgres reports, for consumers and for APIs (which answer 503 to infrastructure failures).
A message that kills the process (out of memory, a segmentation fault) raises nothing; consumer/crash_loop.py parks it
after three crashes. CancelledError is not classified: it is no failure.
"""

from collections.abc import Iterator
from enum import StrEnum

import asyncpg
from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class PermanentFailure(Exception):
    """The message can never be processed and is parked."""


class TransientFailure(Exception):
    """The next attempt may succeed. Handlers may raise it."""


class InfrastructureFailure(Exception):
    """A dependency is unavailable; the message waits for it, however long that takes."""


class FailureClass(StrEnum):
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    INFRASTRUCTURE = "infrastructure"


PARK, RETRY, WAIT = FailureClass.PERMANENT, FailureClass.TRANSIENT, FailureClass.INFRASTRUCTURE

# The five characters of a code are looked up first, then its class, the first two. What is not listed is parked.
# https://www.postgresql.org/docs/18/errcodes-appendix.html
SQLSTATES: dict[str, tuple[FailureClass, str]] = {
    "08": (WAIT, "the connection failed"),
    "22": (PARK, "a value that does not fit: too long, out of range, not a number"),
    "23": (PARK, "a violated constraint"),
    "25": (PARK, "a statement that its transaction does not allow: a bug"),
    "25006": (WAIT, "read-only: a standby, a failover, an operator"),
    "25P03": (WAIT, "idle in transaction for too long: the process was frozen or starved"),
    "25P04": (WAIT, "the transaction took too long"),
    "26": (WAIT, "a prepared statement is gone: a pooler switched the connection"),
    "28": (WAIT, "the login was refused"),
    "3D": (WAIT, "the database does not exist yet"),
    "3F": (WAIT, "the schema does not exist yet"),
    "40": (WAIT, "a deadlock or a serialization failure with another transaction"),
    "42": (PARK, "wrong SQL: a bug"),
    "42501": (WAIT, "a privilege is missing: set-up grants it"),
    "42P01": (WAIT, "a table is missing: the code is newer than its migration"),
    "42703": (WAIT, "a column is missing: the code is newer than its migration"),
    "42883": (WAIT, "a function is missing: the code is newer than its migration"),
    "42704": (WAIT, "a type or an index is missing: the code is newer than its migration"),
    "53": (WAIT, "out of connections, memory or disk"),
    "54": (PARK, "the statement exceeds a limit of Postgres"),
    "55006": (WAIT, "in use by another session"),
    "55P03": (WAIT, "locked by another session for longer than lock_timeout"),
    "57": (WAIT, "cancelled, timed out, shutting down or starting up"),
    "58": (WAIT, "an error of the machine that Postgres runs on"),
    "F0": (WAIT, "the configuration of Postgres is broken"),
    "XX": (RETRY, "an internal error of Postgres"),
}

CONFLICTS = ("40", "55P03", "57014")
"""States of one transaction that waits for what another one holds, while the database itself is available."""


def classify(error: BaseException) -> FailureClass:
    """Returns the class of the first error in the chain of causes that can be classified."""
    for link in _chain(error):
        if isinstance(link, PermanentFailure):
            return FailureClass.PERMANENT
        if isinstance(link, TransientFailure):
            return FailureClass.TRANSIENT
        if _means_stale(link):
            return FailureClass.INFRASTRUCTURE
        if state := _sqlstate(link):
            return _by_sqlstate(state)
        if _means_unreachable(link):
            return FailureClass.INFRASTRUCTURE
    return FailureClass.PERMANENT


def concerns_everyone(error: BaseException) -> bool:
    """Returns True if all requests fail while the dependency is in this state, False for a conflict of one request."""
    conflict = any(_sqlstate(link).startswith(CONFLICTS) or _means_stale(link) for link in _chain(error))
    return classify(error) is FailureClass.INFRASTRUCTURE and not conflict


def is_outdated(error: BaseException) -> bool:
    """Returns True if a prepared statement is older than a migration: its transaction had no effect, repeat it."""
    return any(isinstance(_of_driver(link), asyncpg.InvalidCachedStatementError) for link in _chain(error))


def _sqlstate(error: BaseException) -> str:
    """Returns the SQLSTATE of a database error or of its driver's error, or ""."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _by_sqlstate(state: str) -> FailureClass:
    failure_class, _ = SQLSTATES.get(state) or SQLSTATES.get(state[:2]) or (PARK, "")
    return failure_class


def _means_unreachable(error: BaseException) -> bool:
    lost_connection = isinstance(error, DBAPIError) and error.connection_invalidated
    # SQLAlchemy raises PendingRollbackError for what is asked of a connection after it was lost.
    unavailable = InfrastructureFailure | OSError | PoolTimeout | PendingRollbackError
    return lost_connection or isinstance(error, unavailable)


def _means_stale(error: BaseException) -> bool:
    """Returns True if the connection is closed or broken, or a cached plan is outdated: the next attempt has others.

    asyncpg reports the first two without a SQLSTATE, and the third with the SQLSTATE of all unsupported features.
    """
    cause = _of_driver(error)
    if isinstance(cause, asyncpg.InvalidCachedStatementError | asyncpg.InternalClientError):
        return True
    return type(cause) is asyncpg.InterfaceError and "closed" in str(cause)


def _of_driver(error: BaseException) -> BaseException:
    """Returns asyncpg's own error, which SQLAlchemy wraps twice."""
    wrapped: BaseException = getattr(error, "orig", None) or error
    return wrapped.__cause__ or wrapped


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
