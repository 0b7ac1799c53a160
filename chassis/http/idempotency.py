"""Makes POSTs idempotent: a repeated Idempotency-Key gets the first answer again, and the effect happens once.

Follows the IETF draft "The Idempotency-Key HTTP Header Field". The key is claimed in the transaction of the effect, so
a concurrent repeat waits for the first request's commit and then reads its answer.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, Generic, ParamSpec, TypeVar

from fastapi import Depends, FastAPI, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Table, Text, func
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import telemetry
from chassis.database import Database, driver, metadata
from chassis.errors import TransientFailure
from chassis.http.group_commit import GroupCommit
from chassis.http.problems import Problem

P = ParamSpec("P")
T = TypeVar("T")
Answer = BaseModel | Mapping[str, Any]
GroupWork = Callable[[Sequence[T], AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `idempotency_keys`: the answer to the first request with this key, and that request's fingerprint."""

    key: str | None
    fingerprint: bytes
    status: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class GroupedItem(Generic[T]):
    """What one request adds to a group; `aggregate_id` is the key of the events that follow from it."""

    item: T
    aggregate_id: str
    traceparent: str
    answer: Stored


Group = GroupCommit[GroupedItem[T], Stored | None]


class IdempotentTransaction:
    """Runs a route's work in a transaction, once per key. A refused request stores no key: it changed nothing."""

    def __init__(self, request: Request, key: str | None) -> None:
        self._request = request
        self._key = key
        self._status: int = request.scope["route"].status_code or 200
        self._database: Database = request.app.state.database

    async def run_in_group(
        self, group: Group[T], body: BaseModel | None, item: T, aggregate_id: str, answer: Answer
    ) -> Response:
        """Writes the item in a transaction shared with other requests (`share_transactions`), and returns `answer`."""
        stored = Stored(self._key, self._fingerprint(body), self._status, _json(answer))
        grouped = GroupedItem(item, aggregate_id, telemetry.current_traceparent(), stored)
        first = await group.submit(self._database, grouped, conflict_key=self._key)
        return self._replay(first, stored) if first else _response(stored)

    async def run(
        self,
        body: BaseModel | None,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[Answer]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Response:
        """Calls `work(db, *args)` in a transaction of its own, and returns its answer."""
        claim = Stored(self._key, self._fingerprint(body), self._status, None)
        async with self._database.transaction() as db:
            if first := (await _claim(db, [claim])).get(self._key):
                return self._replay(first, claim)
            answer = _json(await work(db, *args, **kwargs))
            if self._key:
                await driver(db).execute(STORE_ANSWER, self._key, answer)
        return _response(Stored(self._key, claim.fingerprint, self._status, answer))

    def _replay(self, first: Stored, repeat: Stored) -> Response:
        if first.fingerprint != repeat.fingerprint:
            detail = "This Idempotency-Key came with another request; take a new key."
            raise Problem(422, "key used before", detail)
        return _response(first, {"Idempotent-Replayed": "true"})

    def _fingerprint(self, body: BaseModel | None) -> bytes:
        asked = f"{self._request.method} {self._request.url.path} {body.model_dump_json() if body else ''}"
        return hashlib.sha256(asked.encode()).digest()


async def _idempotent(
    request: Request, idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None
) -> IdempotentTransaction:
    return IdempotentTransaction(request, idempotency_key)


Idempotent = Annotated[IdempotentTransaction, Depends(_idempotent)]


def share_transactions(app: FastAPI, work: GroupWork[T]) -> Group[T]:
    """Returns a group for `run_in_group`: `work(items, db)` writes many items in one transaction."""

    async def write(db: AsyncConnection, grouped: Sequence[GroupedItem[T]]) -> Sequence[Stored | None]:
        first = await _claim(db, [each.answer for each in grouped])
        new = [each for each in grouped if each.answer.key not in first]
        telemetry.set_parent_contexts({each.aggregate_id: each.traceparent for each in new})
        if new:
            await work([each.item for each in new], db)
        return [first.get(each.answer.key) for each in grouped]

    group: Group[T] = GroupCommit(write)
    app.state.groups.append(group)
    return group


async def _claim(db: AsyncConnection, answers: Sequence[Stored]) -> dict[str | None, Stored]:
    """Stores answers under their keys. Returns, by key, the answers that an earlier request stored.

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
    first = {row["key"]: Stored(**row) for row in await driver(db).fetch(FIRST_ANSWERS, used)}
    if len(first) < len(used):
        raise TransientFailure("an Idempotency-Key was deleted for its age while it was used: ask again")
    return first


def _json(answer: Answer) -> bytes:
    if isinstance(answer, BaseModel):
        return answer.model_dump_json().encode()
    return json.dumps(answer).encode()


def _response(answer: Stored, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.body, answer.status, headers, media_type="application/json")


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
FIRST_ANSWERS = "SELECT key, fingerprint, status, body FROM idempotency_keys WHERE key = ANY($1)"
STORE_ANSWER = "UPDATE idempotency_keys SET body = $2 WHERE key = $1"
