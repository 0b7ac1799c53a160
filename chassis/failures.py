"""What failed decides what happens next: park it, try it again in place, or wait for the world to come back.

Exception
├── PermanentFailure       this message can never work            → parked at the first failure
├── TransientFailure       a moment's bad luck, or a handler says so → tried again in place, then parked
└── InfrastructureFailure  a dependency is away, the message is fine → never parked: wait and try again

| class          | what lands in it                                                                        |
|----------------|-----------------------------------------------------------------------------------------|
| permanent      | undecodable bytes, a domain rule, a database constraint, a bug: everything not below    |
| transient      | serialization failure, deadlock, lock or statement time-out, idle-in-transaction        |
| infrastructure | Postgres, Kafka or the registry unreachable, restarting, or out of connections          |

What raises nothing because the process dies of it (memory, a segfault, SIGKILL) is found by starts.py: it counts as
permanent after three deaths. CancelledError is no failure: whoever is told to stop has failed at nothing.
"""

from collections.abc import Iterator
from enum import StrEnum

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


# SQLSTATE codes and two-letter classes: https://www.postgresql.org/docs/18/errcodes-appendix.html
TRANSIENT_STATES = ("40001", "40P01", "55P03", "57014", "25P03", "25P04")
INFRASTRUCTURE_STATES = ("08", "28", "3D", "53", "57P", "58")


def classify(error: BaseException) -> FailureClass:
    """The class of the first error in the chain of causes that says what it is."""
    for link in _chain(error):
        if isinstance(link, PermanentFailure):
            return FailureClass.PERMANENT
        if isinstance(link, TransientFailure):
            return FailureClass.TRANSIENT
        if state := _sqlstate(link):
            return _by_sqlstate(state)
        if _means_unreachable(link):
            return FailureClass.INFRASTRUCTURE
    return FailureClass.PERMANENT


def _sqlstate(error: BaseException) -> str:
    """A database error carries its driver's error, which carries the state."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def _by_sqlstate(state: str) -> FailureClass:
    if state in TRANSIENT_STATES:
        return FailureClass.TRANSIENT
    if state.startswith(INFRASTRUCTURE_STATES):
        return FailureClass.INFRASTRUCTURE
    return FailureClass.PERMANENT


def _means_unreachable(error: BaseException) -> bool:
    lost_connection = isinstance(error, DBAPIError) and error.connection_invalidated
    return lost_connection or isinstance(error, InfrastructureFailure | OSError | PoolTimeout)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
