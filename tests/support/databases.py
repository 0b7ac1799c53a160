"""Making and dropping databases on a server, for tests and benchmarks that want one of their own."""

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine


async def administer(server: URL, statement: str) -> None:
    """Runs a statement outside of any transaction, as CREATE and DROP DATABASE must be."""
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


def named_url(server: URL, database: str) -> str:
    return server.set(database=database).render_as_string(hide_password=False)
