"""The relay's own connection to Postgres: every statement has a deadline, and a dead session ends by itself."""

import asyncpg
from sqlalchemy.engine import make_url

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 10.0

SETTINGS = {
    # Every statement looks rows up by key; without this, a planner that has no statistics yet reads the whole table.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # A lost mark means that a row is sent again, which is harmless; so no turn waits for the disk.
    "synchronous_commit": "off",
    # What a frozen relay, or one that was cut off, leaves behind in Postgres. An idle relay asks every second.
    "idle_session_timeout": "25s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}


async def connect(database_url: str, service: str) -> asyncpg.Connection:
    """`database_url` is SQLAlchemy's."""
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    settings = SETTINGS | {"application_name": f"{service}-relay"}
    return await asyncpg.connect(
        dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS, server_settings=settings
    )
