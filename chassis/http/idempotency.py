"""Idempotency-Key on a POST: the same request again gets the same answer, and its effect happens once.

After the IETF draft "The Idempotency-Key HTTP Header Field": the key is claimed in the effect's own
transaction, so a concurrent repeat waits for the first one's commit and then reads its answer.

A route whose answer is known before it writes anything shares transactions with other requests: `in_group` claims
all their keys and stores all their answers in one statement.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import Database, driver, metadata
from chassis.errors import TransientFailure
from chassis.http.group_commit import GroupCommit
from chassis.http.problems import Problem

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

CLAIM = """
    INSERT INTO idempotency_keys (key, fingerprint, status, body)
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::int[], $4::bytea[])
    ON CONFLICT DO NOTHING RETURNING key
"""
EARLIER = "SELECT key, fingerprint, status, body FROM idempotency_keys WHERE key = ANY($1)"

T = TypeVar("T")
Answer = BaseModel | Mapping[str, Any]
Work = Callable[[AsyncConnection], Awaitable[Answer]]
GroupWork = Callable[[Sequence[T], AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """The answer that a key was given when it was first used, and the fingerprint of the request it came with."""

    fingerprint: bytes
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """One request of a group, with its answer; `about` is the aggregate its events belong to."""

    item: T
    about: str
    answer: bytes
    status: int
    key: str | None
    fingerprint: bytes
    traceparent: str


Group = GroupCommit[Asked[T], Earlier | None]


class IdempotentTransaction:
    """Runs a route's work in one transaction, once per key. A refusal is not remembered: it changed nothing."""

    def __init__(self, request: Request, key: str | None) -> None:
        self._request = request
        self._key = key
        self._status: int = request.scope["route"].status_code or 200
        self._database: Database = request.app.state.database

    async def __call__(self, body: BaseModel | None, work: Work) -> Response:
        async with self._database.transaction() as db:
            if self._key is None:
                return _response(self._status, _json(await work(db)))
            if earlier := await self._claim(db, self._key, self._fingerprint(body)):
                return self._replay(earlier, self._fingerprint(body))
            answer = _json(await work(db))
            remember = update(idempotency_keys).where(idempotency_keys.c.key == self._key)
            await db.execute(remember.values(status=self._status, body=answer))
        return _response(self._status, answer)

    async def in_group(
        self, group: Group[T], body: BaseModel | None, item: T, about: str, answer: Answer
    ) -> Response:
        """Has the item written by its group, in a transaction shared with other requests, once per key."""
        fingerprint = self._fingerprint(body)
        asked = Asked(item, about, _json(answer), self._status, self._key, fingerprint, telemetry.cause())
        if earlier := await group.submit(self._database, asked, apart=self._key):
            return self._replay(earlier, fingerprint)
        return _response(self._status, asked.answer)

    async def _claim(self, db: AsyncConnection, key: str, fingerprint: bytes) -> Earlier | None:
        mine = insert(idempotency_keys).values(key=key, fingerprint=fingerprint).on_conflict_do_nothing()
        if (await db.execute(mine.returning(idempotency_keys.c.key))).first():
            return None
        return (await _earlier(db, [key]))[key]

    def _replay(self, earlier: Earlier, fingerprint: bytes) -> Response:
        if earlier.fingerprint != fingerprint:
            raise Problem(
                422, "key used before", "This Idempotency-Key came with another request; take a new key."
            )
        return _response(earlier.status, earlier.body, {"Idempotent-Replayed": "true"})

    def _fingerprint(self, body: BaseModel | None) -> bytes:
        asked = f"{self._request.method} {self._request.url.path} {body.model_dump_json() if body else ''}"
        return hashlib.sha256(asked.encode()).digest()


def in_group(app: FastAPI, work: GroupWork[T]) -> Group[T]:
    """Returns a group for `work`, which writes many items in the transaction it is given, and must not commit."""

    async def write(db: AsyncConnection, asked: Sequence[Asked[T]]) -> Sequence[Earlier | None]:
        claims = sorted((each for each in asked if each.key), key=lambda each: each.key or "")
        earlier = await _claim_answers(db, claims) if claims else {}
        fresh = [each for each in asked if each.key not in earlier]
        telemetry.set_parent_contexts({each.about: each.traceparent for each in fresh})
        if fresh:
            await work([each.item for each in fresh], db)
        return [earlier.get(each.key or "") for each in asked]

    group: Group[T] = GroupCommit(write)
    app.state.groups.append(group)
    return group


async def _claim_answers(db: AsyncConnection, claims: Sequence[Asked[Any]]) -> dict[str, Earlier]:
    """Stores the answers under their keys, and returns the earlier answer of each key that had one.

    The claims are sorted by key, so that two transactions that name the same ones cannot wait for each other.
    """
    columns = [[each.key for each in claims], [each.fingerprint for each in claims]]
    answers: list[list[Any]] = [[each.status for each in claims], [each.answer for each in claims]]
    new = {row["key"] for row in await driver(db).fetch(CLAIM, *columns, *answers)}
    used = [each.key for each in claims if each.key and each.key not in new]
    return await _earlier(db, used) if used else {}


async def _earlier(db: AsyncConnection, keys: Sequence[str]) -> dict[str, Earlier]:
    found = await driver(db).fetch(EARLIER, keys)
    if len(found) < len(keys):
        raise TransientFailure("an Idempotency-Key was deleted for its age while it was used: ask again")
    return {row["key"]: Earlier(row["fingerprint"], row["status"], row["body"]) for row in found}


async def _one_transaction(
    request: Request, idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None
) -> IdempotentTransaction:
    return IdempotentTransaction(request, idempotency_key)


Idempotent = Annotated[IdempotentTransaction, Depends(_one_transaction)]


def _json(answer: Answer) -> bytes:
    if isinstance(answer, BaseModel):
        return answer.model_dump_json().encode()
    return json.dumps(answer).encode()


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
