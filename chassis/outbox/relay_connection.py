"""Opens the relay's own connection to Postgres, on which statements time out and dead sessions end by themselves."""

import asyncpg
from sqlalchemy.engine import make_url

CONNECT_SECONDS = 5.0
STATEMENT_SECONDS = 10.0

SETTINGS = {
    # The statements look rows up by key; without this, a planner without statistics scans the whole table.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # No batch waits for the disk: if a mark is lost in a crash, its row is sent again, which is harmless.
    "synchronous_commit": "off",
    # End the session of a relay that is frozen or cut off. An idle relay sends a statement every second.
    "idle_session_timeout": "25s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "25s",
}


async def connect(database_url: str, service: str) -> asyncpg.Connection:
    """Connects; `database_url` is a URL of SQLAlchemy."""
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    settings = SETTINGS | {"application_name": f"{service}-relay"}
    return await asyncpg.connect(
        dsn, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS, server_settings=settings
    )
