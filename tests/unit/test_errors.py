"""Each row of the table of error classes."""

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from chassis.errors import FailureClass, InfrastructureFailure, PermanentFailure, TransientFailure, classify


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
        (from_database("XX000"), FailureClass.TRANSIENT),
        (from_database("42601"), FailureClass.PERMANENT),
        (from_database("0A000"), FailureClass.PERMANENT),
        (from_database("54000"), FailureClass.PERMANENT),
        (from_database("25P02"), FailureClass.PERMANENT),
        (from_database("P0001"), FailureClass.PERMANENT),
        (from_database("40001"), FailureClass.INFRASTRUCTURE),
        (from_database("40P01"), FailureClass.INFRASTRUCTURE),
        (from_database("55P03"), FailureClass.INFRASTRUCTURE),
        (from_database("57014"), FailureClass.INFRASTRUCTURE),
        (from_database("25P03", connection_invalidated=True), FailureClass.INFRASTRUCTURE),
        (from_database("25P04"), FailureClass.INFRASTRUCTURE),
        (from_database("25006"), FailureClass.INFRASTRUCTURE),
        (from_database("42501"), FailureClass.INFRASTRUCTURE),
        (from_database("42P01"), FailureClass.INFRASTRUCTURE),
        (from_database("42703"), FailureClass.INFRASTRUCTURE),
        (asyncpg.InvalidCachedStatementError("cached"), FailureClass.INFRASTRUCTURE),
        (
            DBAPIError(
                "SELECT 1", {}, caused(Exception("dialect"), asyncpg.InvalidCachedStatementError("cached"))
            ),
            FailureClass.INFRASTRUCTURE,
        ),
        (asyncpg.InterfaceError("connection is closed"), FailureClass.INFRASTRUCTURE),
        (asyncpg.InternalClientError("cannot switch to state 12"), FailureClass.INFRASTRUCTURE),
        (asyncpg.DataError("invalid input for query argument $1: 'closed'"), FailureClass.PERMANENT),
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
