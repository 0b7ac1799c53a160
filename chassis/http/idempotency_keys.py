"""The table `idempotency_keys`: the answer to the first request with each Idempotency-Key."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata
from chassis.errors import TransientFailure

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("idempotency_keys_created_at", "created_at", postgresql_using="brin"),
)


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """The answer to the first request with this key, and that request's fingerprint; `body` is None until known."""

    key: str | None
    fingerprint: bytes
    status: int
    body: bytes | None


async def claim_keys(db: AsyncConnection, answers: Sequence[KeyedAnswer]) -> dict[str | None, KeyedAnswer]:
    """Stores answers under their keys, if they have one. Returns, by key, the answers that an earlier request stored.

    Inserts in the order of keys, so that two transactions with the same keys cannot wait for each other.
    """
    claims = sorted((each for each in answers if each.key), key=lambda each: each.key or "")
    if not claims:
        return {}
    columns = zip(*((each.key, each.fingerprint, each.status, each.body) for each in claims), strict=True)
    new = {row["key"] for row in await driver(db).fetch(CLAIM, *columns)}
    used = [each.key for each in claims if each.key not in new]
    if not used:
        return {}
    first = {row["key"]: KeyedAnswer(**row) for row in await driver(db).fetch(FIRST_ANSWERS, used)}
    if len(first) < len(used):
        raise TransientFailure("an Idempotency-Key was deleted for its age while it was used: ask again")
    return first


async def store_answer(db: AsyncConnection, key: str, body: bytes) -> None:
    """Stores the answer of a request that claimed its key before the answer was known."""
    await driver(db).execute(STORE_ANSWER, key, body)


CLAIM = """
    INSERT INTO idempotency_keys (key, fingerprint, status, body)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::int[], $4::bytea[])
    ON CONFLICT DO NOTHING RETURNING key
"""
FIRST_ANSWERS = "SELECT key, fingerprint, status, body FROM idempotency_keys WHERE key = ANY($1)"
STORE_ANSWER = "UPDATE idempotency_keys SET body = $2 WHERE key = $1"
