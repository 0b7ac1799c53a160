"""One service's database from outside: short read-only snapshots, and one sentence when it is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from fanout.errors import FanoutError, Unreachable

# The roles' time-outs are for services; whoever counts a million rows may take longer.
_SETTINGS = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "jit": "off"}


@asynccontextmanager
async def snapshot(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """Everything read through the connection is of one moment."""
    async with session(service, url) as db:
        await db.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield db


@asynccontextmanager
async def session(service: str, url: str) -> AsyncIterator[AsyncConnection]:
    """A connection of the caller's own; its transactions are the caller's too."""
    engine = _engine(url)
    try:
        async with engine.connect() as db:
            yield db
    except OSError as error:
        raise _unreachable(service, url) from error
    except SQLAlchemyError as error:
        if _connection_is_gone(error):
            raise _unreachable(service, url) from error
        raise FanoutError(f"the database of {service} refuses a question: {_first_line(error)}") from error
    finally:
        await engine.dispose()


def _engine(url: str) -> AsyncEngine:
    return create_async_engine(
        url, poolclass=NullPool, connect_args={"server_settings": _SETTINGS, "timeout": 5}
    )


def _unreachable(service: str, url: str) -> Unreachable:
    place = make_url(url)
    return Unreachable(f"the database of {service}", f"{place.host}:{place.port}")


def _connection_is_gone(error: SQLAlchemyError) -> bool:
    """Also while Postgres starts up, shuts down or lacks the database (classes 08, 57P and 3D)."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state.startswith(("08", "57P", "3D"))


def _first_line(error: SQLAlchemyError) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).split(">: ")[-1].splitlines()[0]
