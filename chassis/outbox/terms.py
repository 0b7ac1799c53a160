"""Elects the active relay of a database, also if the last one is frozen and still holds its session.

A term is the time during which one relay is active. Its advisory lock ends with its session, so after a crash the next
relay becomes active at once. A frozen relay, or a frozen Postgres backend, keeps its lock; therefore the active relay
renews its term, and a relay on standby begins the next term if the last one was not renewed for `TERM_SECONDS`. By then
the producer of the old term has given up all its messages.
"""

import asyncpg
from sqlalchemy import BigInteger, Column, DateTime, Table

from chassis.database import metadata

ADVISORY_LOCK = 0x66616E6F7574
"""The number of the lock of term 0; each term has its own lock."""
TERM_SECONDS = 20.0


class TermIsOver(Exception):
    """Another relay has become active: this one was frozen, or cut off from Postgres, for too long."""


async def become_active(connection: asyncpg.Connection) -> int | None:
    """Returns the number of this relay's term, or None while another relay is active."""
    latest = await connection.fetchrow(LATEST_TERM, TERM_SECONDS)
    term: int = latest["term"]
    if latest["is_free"]:
        if await connection.fetchval(RENEW, term):
            return term
        await connection.execute("SELECT pg_advisory_unlock($1)", ADVISORY_LOCK + term)
    elif latest["is_over"]:
        await connection.execute(BEGIN, term + 1)
        return await become_active(connection)
    return None


async def renew(connection: asyncpg.Connection, term: int) -> None:
    """Renews the term. Raises TermIsOver if another relay has begun a later one."""
    if not await connection.fetchval(RENEW, term):
        raise TermIsOver


relay_terms = Table(
    "relay_terms",
    metadata,
    Column("term", BigInteger, primary_key=True, autoincrement=False),
    Column("renewed_at", DateTime(timezone=True), nullable=False),
)

LATEST_TERM = f"""
    SELECT term, is_over, pg_try_advisory_lock({ADVISORY_LOCK} + term) AS is_free FROM (
        SELECT coalesce(max(term), 0) AS term,
            coalesce(max(renewed_at) < clock_timestamp() - make_interval(secs => $1), false) AS is_over
        FROM relay_terms
    ) AS latest
"""
RENEW = """
    INSERT INTO relay_terms AS own (term, renewed_at)
    SELECT $1, clock_timestamp() WHERE NOT EXISTS (SELECT FROM relay_terms WHERE term > $1)
    ON CONFLICT (term) DO UPDATE SET renewed_at = excluded.renewed_at
    RETURNING true
"""
# An insert: a backend that froze during a renewal holds a lock on the row of its term.
BEGIN = "INSERT INTO relay_terms (term, renewed_at) VALUES ($1, clock_timestamp()) ON CONFLICT DO NOTHING"
