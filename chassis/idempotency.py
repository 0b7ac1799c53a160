"""Idempotency-Key on a POST: the same request again gets the same answer, and its effect happens once.

After the IETF draft "The Idempotency-Key HTTP Header Field": the key is claimed in the effect's own
transaction, so a concurrent repeat waits for the first one's commit and then reads its answer.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, Row, Table, Text, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, metadata
from chassis.problems import Problem

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

Answer = BaseModel | Mapping[str, Any]
Work = Callable[[AsyncConnection], Awaitable[Answer]]


class OneTransaction:
    """Runs a route's work in one transaction, once per key. A refusal is not remembered: it changed nothing."""

    def __init__(self, request: Request, key: str | None) -> None:
        self._request = request
        self._key = key
        self._status: int = request.scope["route"].status_code or 200

    async def __call__(self, body: BaseModel | None, work: Work) -> Response:
        database: Database = self._request.app.state.database
        async with database.transaction() as db:
            if self._key is None:
                return _response(self._status, _json(await work(db)))
            if earlier := await self._claim(db, self._key, self._fingerprint(body)):
                return _response(earlier.status, earlier.body, {"Idempotent-Replayed": "true"})
            answer = _json(await work(db))
            remember = update(idempotency_keys).where(idempotency_keys.c.key == self._key)
            await db.execute(remember.values(status=self._status, body=answer))
        return _response(self._status, answer)

    async def _claim(self, db: AsyncConnection, key: str, fingerprint: bytes) -> Row[Any] | None:
        mine = insert(idempotency_keys).values(key=key, fingerprint=fingerprint).on_conflict_do_nothing()
        if (await db.execute(mine.returning(idempotency_keys.c.key))).first():
            return None
        earlier = (await db.execute(select(idempotency_keys).where(idempotency_keys.c.key == key))).one()
        if earlier.fingerprint != fingerprint:
            raise Problem(
                422, "key used before", "This Idempotency-Key came with another request; take a new key."
            )
        return earlier

    def _fingerprint(self, body: BaseModel | None) -> bytes:
        asked = f"{self._request.method} {self._request.url.path} {body.model_dump_json() if body else ''}"
        return hashlib.sha256(asked.encode()).digest()


async def _one_transaction(
    request: Request, idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None
) -> OneTransaction:
    return OneTransaction(request, idempotency_key)


Once = Annotated[OneTransaction, Depends(_one_transaction)]


def _json(answer: Answer) -> bytes:
    if isinstance(answer, BaseModel):
        return answer.model_dump_json().encode()
    return json.dumps(answer).encode()


def _response(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")
