"""Runs one statement on a service's database, read-only, with secrets masked and errors in one sentence."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.engine import make_url

from fanout.errors import BadUsage, FanoutError, Unreachable
from fanout.masked_views import read_only_with_views

CONNECT_SECONDS = 5
LONGEST_MS = 2**31 - 1
"""Of statement_timeout in Postgres."""
WRITING = (asyncpg.ReadOnlySQLTransactionError, asyncpg.ObjectNotInPrerequisiteStateError)
GONE = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.AdminShutdownError,
)
VIEW_COLUMN = " of view "
"""Postgres says `cannot update column "a" of view "b"` of a masked column."""
SEVERAL = "cannot insert multiple commands"
NEAR = 30
"""So many characters are quoted from the place of an error."""


TABLES = ("table", "rows", "columns")


@dataclass(frozen=True, slots=True)
class Result:
    """`more`: there are more rows than were asked for."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: bool = False


async def query(service: str, url: str, statement: str, limit: int, seconds: float) -> Result:
    """Returns the first rows. Raises BadUsage for a wrong or a writing statement, FanoutError for a slow one."""
    async with _reading(service, url, seconds) as (db, _):
        with _in_one_sentence(service, statement, seconds):
            prepared = await db.prepare(statement)
            if prepared.get_parameters():
                raise BadUsage("the statement has parameters such as $1: write their values")
            columns = _distinct([attribute.name for attribute in prepared.get_attributes()])
            if not columns:
                raise BadUsage(f"fanout sql only reads, and '{_beginning(statement)}' returns no rows")
            rows = await (await prepared.cursor()).fetch(limit + 1)
    return Result(columns, [tuple(row) for row in rows[:limit]], more=len(rows) > limit)


async def tables(service: str, url: str, seconds: float) -> Result:
    """Returns each table with its number of rows and its columns."""
    async with _reading(service, url, seconds) as (db, found):
        with _in_one_sentence(service, "", seconds):
            rows = [
                (table, await db.fetchval(f'SELECT count(*) FROM "{table}"'), ", ".join(columns))
                for table, columns in found.items()
            ]
    return Result(TABLES, rows)


@asynccontextmanager
async def _reading(
    service: str, url: str, seconds: float
) -> AsyncIterator[tuple[asyncpg.Connection, Mapping[str, Sequence[str]]]]:
    """Connects; all is read in one snapshot, which is rolled back. Raises Unreachable."""
    place = make_url(url)
    settings = {
        "statement_timeout": f"{min(seconds * 1000, LONGEST_MS):.0f}",
        "idle_in_transaction_session_timeout": "0",
    }
    try:
        plain = place.set(drivername="postgresql").render_as_string(hide_password=False)
        db = await asyncpg.connect(plain, timeout=CONNECT_SECONDS, server_settings=settings)
        try:
            transaction = db.transaction(isolation="repeatable_read")
            await transaction.start()
            yield db, await read_only_with_views(db, service)
        finally:
            db.terminate()
    except GONE as error:
        raise Unreachable(f"the database of {service}", f"{place.host}:{place.port}") from error


@contextmanager
def _in_one_sentence(service: str, statement: str, seconds: float) -> Iterator[None]:
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise FanoutError(
            f"the statement took longer than {seconds:g} s: narrow it down, or give it more with --timeout"
        ) from error
    except WRITING as error:
        raise BadUsage(f"fanout sql only reads, and Postgres says: {error.args[0]}") from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise BadUsage(
            f"fanout sql only reads, and only views of the tables, without their secrets: {error.args[0]}; name tables "
            "without public."
        ) from error
    except (asyncpg.InterfaceError, OverflowError, ValueError) as error:
        raise BadUsage(f"an answer cannot be shown: {error.args[0]}; cast it to text") from error
    except asyncpg.PostgresError as error:
        if SEVERAL in str(error):
            raise BadUsage("give one statement: several were given, and none was run") from error
        if VIEW_COLUMN in str(error):
            raise BadUsage(f"fanout sql only reads, and Postgres says: {error.args[0]}") from error
        raise BadUsage(
            f"the database of {service} refuses the statement: {_described(error, statement)}"
        ) from error


def _described(error: asyncpg.PostgresError, statement: str) -> str:
    """Returns Postgres' sentence, where in the statement that is, and its hint."""
    said = str(error.args[0])
    if error.position and error.position.isdecimal():
        start = int(error.position)
        said += f", at character {start}: {statement[start - 1 : start - 1 + NEAR]!r}"
    return f"{said} ({error.hint})" if error.hint else said


def _beginning(statement: str) -> str:
    words = " ".join(statement.split())
    return words if len(words) <= NEAR else f"{words[:NEAR]}…"


def _distinct(names: Sequence[str]) -> list[str]:
    """Numbers the columns that have the same name, so that none hides another."""
    found: list[str] = []
    for name in names:
        number = sum(other == name or other.startswith(f"{name}_") for other in found)
        found.append(f"{name}_{number + 1}" if name in found else name)
    return found
