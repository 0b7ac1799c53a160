"""What failed decides what happens next: park the message, try it again a few times, or wait for the system.

Exception
├── PermanentFailure       this message can never work              → parked at the first failure
├── TransientFailure       a handler asks for another try, or       → tried again in place, then parked
│                          nobody can say whose fault it is
└── InfrastructureFailure  a condition of the system, not of the    → never parked: wait and try again
                           message

| class          | what lands in it                                                                               |
|----------------|------------------------------------------------------------------------------------------------|
| permanent      | undecodable bytes, a domain rule, a database constraint, a bug: everything not named below       |
| transient      | TransientFailure, an internal error of Postgres                                                  |
| infrastructure | Postgres, Kafka or the registry unreachable; Postgres locked, read-only, out of connections, not |
|                | yet migrated; a deadlock or a serialization failure with another transaction                     |

What Postgres says is decided in SQLSTATES, once for consumers and APIs (which answer 503 while it is infrastructure).
What raises nothing because the process dies of it (memory, a segfault, SIGKILL) is found by crash_loop.py: it counts as
permanent after three deaths. CancelledError is no failure: whoever is told to stop has failed at nothing.
"""

from collections.abc import Iterator
from enum import StrEnum

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout


class PermanentFailure(Exception):
    """This message can never be processed; park it."""


class TransientFailure(Exception):
    """Worth another try soon; a handler may raise it."""


class InfrastructureFailure(Exception):
    """A dependency is away; wait for it, however long."""


class FailureClass(StrEnum):
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    INFRASTRUCTURE = "infrastructure"


PARK, FEW_TRIES, WAIT = FailureClass.PERMANENT, FailureClass.TRANSIENT, FailureClass.INFRASTRUCTURE

# A code decides before its class, the first two characters; what is not listed is parked.
# https://www.postgresql.org/docs/18/errcodes-appendix.html
SQLSTATES: dict[str, tuple[FailureClass, str]] = {
    "08": (WAIT, "the connection failed"),
    "22": (PARK, "a value does not fit: too long, out of range, not a number"),
    "23": (PARK, "a constraint of the tables"),
    "25": (PARK, "a statement that its transaction does not allow: a bug"),
    "25006": (WAIT, "read-only: a standby, a failover, an operator"),
    "25P03": (WAIT, "idle in transaction for too long: the process was frozen or starved"),
    "25P04": (WAIT, "the transaction took too long"),
    "26": (WAIT, "a prepared statement is gone: the connection is another one behind a pooler"),
    "28": (WAIT, "the login is refused"),
    "3D": (WAIT, "the database does not exist yet"),
    "3F": (WAIT, "the schema does not exist yet"),
    "40": (WAIT, "a deadlock or a serialization failure: the other transaction goes first"),
    "42": (PARK, "wrong SQL: a bug"),
    "42501": (WAIT, "a right is missing: the grants come with the set-up"),
    "42P01": (WAIT, "a table is missing: the code is newer than its migration"),
    "42703": (WAIT, "a column is missing: the code is newer than its migration"),
    "42883": (WAIT, "a function is missing: the code is newer than its migration"),
    "42704": (WAIT, "a type or an index is missing: the code is newer than its migration"),
    "53": (WAIT, "out of connections, memory or disk"),
    "54": (PARK, "a limit of Postgres that this statement exceeds"),
    "55006": (WAIT, "in use by another session"),
    "55P03": (WAIT, "locked by another session for longer than lock_timeout"),
    "57": (WAIT, "cancelled, timed out, shutting down or starting up"),
    "58": (WAIT, "an error of the machine that Postgres runs on"),
    "F0": (WAIT, "the configuration of Postgres is broken"),
    "XX": (FEW_TRIES, "an internal error of Postgres"),
}

CONFLICTS = ("40", "55P03", "57014")
"""Conditions of the system that may concern one transaction only: it waits for what another one holds."""


def classify(error: BaseException) -> FailureClass:
    """The class of the first error in the chain of parent_contexts that says what it is."""
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
    """Returns True if whatever is asked of a dependency fails now, False for what may be one request's conflict."""
    conflict = any(_sqlstate(link).startswith(CONFLICTS) or _means_stale(link) for link in _chain(error))
    return classify(error) is FailureClass.INFRASTRUCTURE and not conflict


def _sqlstate(error: BaseException) -> str:
    """A database error carries its driver's error, which carries the state."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _by_sqlstate(state: str) -> FailureClass:
    failure_class, _ = SQLSTATES.get(state) or SQLSTATES.get(state[:2]) or (PARK, "")
    return failure_class


def _means_unreachable(error: BaseException) -> bool:
    lost_connection = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost_connection or isinstance(error, InfrastructureFailure | OSError | PoolTimeout)


def _means_stale(error: BaseException) -> bool:
    """The connection is closed, or the plan of a statement is from before an ALTER TABLE: the next try gets a new one.

    asyncpg says the first without a SQLSTATE, and the second with the one of every unsupported feature.
    """
    cause = getattr(error, "orig", error)
    cause = getattr(cause, "__cause__", None) or cause
    if isinstance(cause, asyncpg.InvalidCachedStatementError):
        return True
    return type(cause) is asyncpg.InterfaceError and "closed" in str(cause)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
