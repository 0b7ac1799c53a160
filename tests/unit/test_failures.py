"""The failure table, row by row."""

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.failures import FailureClass, InfrastructureFailure, PermanentFailure, TransientFailure, classify


class DriverError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("from the driver")
        self.sqlstate = sqlstate


def from_database(sqlstate: str | None, connection_invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, DriverError(sqlstate), connection_invalidated=connection_invalidated)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermanentFailure("rule"), FailureClass.PERMANENT),
        (ValueError("a bug"), FailureClass.PERMANENT),
        (from_database("23505"), FailureClass.PERMANENT),
        (from_database("23514"), FailureClass.PERMANENT),
        (from_database("22P02"), FailureClass.PERMANENT),
        (TransientFailure("later"), FailureClass.TRANSIENT),
        (from_database("40001"), FailureClass.TRANSIENT),
        (from_database("40P01"), FailureClass.TRANSIENT),
        (from_database("55P03"), FailureClass.TRANSIENT),
        (from_database("57014"), FailureClass.TRANSIENT),
        (from_database("25P03", connection_invalidated=True), FailureClass.TRANSIENT),
        (InfrastructureFailure("registry away"), FailureClass.INFRASTRUCTURE),
        (from_database("08006"), FailureClass.INFRASTRUCTURE),
        (from_database("53300"), FailureClass.INFRASTRUCTURE),
        (from_database("57P01"), FailureClass.INFRASTRUCTURE),
        (from_database("57P03"), FailureClass.INFRASTRUCTURE),
        (from_database(None, connection_invalidated=True), FailureClass.INFRASTRUCTURE),
        (ConnectionRefusedError("no one there"), FailureClass.INFRASTRUCTURE),
        (PoolTimeout("pool"), FailureClass.INFRASTRUCTURE),
        (caused(RuntimeError("wrapped"), ConnectionResetError()), FailureClass.INFRASTRUCTURE),
        (caused(PermanentFailure("because of it"), ConnectionResetError()), FailureClass.PERMANENT),
    ],
    ids=str,
)
def test_an_error_belongs_to_one_class(error: Exception, expected: FailureClass) -> None:
    assert classify(error) is expected
