"""The table `idempotency_keys`: the answer to the first request with each Idempotency-Key of each principal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata
from chassis.errors import TransientFailure

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal", Text, primary_key=True, server_default=""),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Integer),
    Column("body", LargeBinary),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Index("idempotency_keys_created_at", "created_at"),
)


class OwnKey(NamedTuple):
    """An Idempotency-Key and who sent it: the same key of two principals is two keys."""

    principal: str
    key: str


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """The answer to the first request with this key, and that request's fingerprint; `body` is None until known."""

    key: OwnKey | None
    fingerprint: bytes
    status: int
    body: bytes | None


async def claim_keys(db: AsyncConnection, answers: Sequence[KeyedAnswer]) -> dict[OwnKey | None, KeyedAnswer]:
    """Stores answers under their keys, if they have one. Returns, by key, the answers that an earlier request stored.

    Inserts in the order of keys, so that two transactions with the same keys cannot wait for each other.
    """
    claims = sorted((each.key, each.fingerprint, each.status, each.body) for each in answers if each.key)
    if not claims:
        return {}
    columns = zip(*((*key, *answer) for key, *answer in claims), strict=True)
    new = {OwnKey(*row) for row in await driver(db).fetch(CLAIM, *columns)}
    used = [key for key, *_ in claims if key not in new]
    if not used:
        return {}
    rows = await driver(db).fetch(FIRST_ANSWERS, *zip(*used, strict=True))
    found = [KeyedAnswer(OwnKey(principal, key), *answer) for principal, key, *answer in rows]
    first: dict[OwnKey | None, KeyedAnswer] = {each.key: each for each in found}
    if len(first) < len(used):
        raise TransientFailure("an Idempotency-Key was deleted for its age while it was used: ask again")
    return first


async def store_answer(db: AsyncConnection, key: OwnKey, body: bytes) -> None:
    """Stores the answer of a request that claimed its key before the answer was known."""
    await driver(db).execute(STORE_ANSWER, *key, body)


CLAIM = """
    INSERT INTO idempotency_keys (principal, key, fingerprint, status, body)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int[], $5::bytea[])
    ON CONFLICT DO NOTHING RETURNING principal, key
"""
FIRST_ANSWERS = """
    SELECT principal, key, fingerprint, status, body FROM idempotency_keys
    WHERE (principal, key) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
STORE_ANSWER = "UPDATE idempotency_keys SET body = $3 WHERE principal = $1 AND key = $2"
