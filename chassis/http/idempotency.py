"""Makes POSTs idempotent: a principal's repeated Idempotency-Key gets the first answer again, for one effect.

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
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.http.auth import Authenticated
from chassis.http.group_commit import GroupCommit
from chassis.http.idempotency_keys import KeyedAnswer, OwnKey, claim_keys, store_answer
from chassis.http.problems import Problem
from chassis.masking import work_on
from chassis.telemetry.trace_context import TraceContext, parent_of, set_parents

P = ParamSpec("P")
T = TypeVar("T")
Answer = BaseModel | Mapping[str, Any]
GroupWork = Callable[[Sequence[T], AsyncConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GroupedItem(Generic[T]):
    """What one request adds to a group; `aggregate_id` is the key of the events that follow from it."""

    item: T
    aggregate_id: str
    request: TraceContext | None
    answer: KeyedAnswer
    body: BaseModel | None


Group = GroupCommit[GroupedItem[T], KeyedAnswer | None]
"""Answers with what an earlier request with the same key was answered, or None if this request is the first."""


class IdempotentTransaction:
    """Runs a route's work in a transaction, once per key. A refused request stores no key: it changed nothing."""

    def __init__(self, request: Request, key: OwnKey | None) -> None:
        self._request = request
        self._key = key
        self._status: int = request.scope["route"].status_code or 200
        self._database: Database = request.app.state.database

    async def run_in_group(
        self, group: Group[T], body: BaseModel | None, item: T, aggregate_id: str, answer: Answer
    ) -> Response:
        """Writes the item in a transaction shared with other requests (`share_transactions`), and returns `answer`."""
        stored = KeyedAnswer(self._key, self._fingerprint(body), self._status, _json(answer))
        grouped = GroupedItem(item, aggregate_id, parent_of(""), stored, body)
        earlier = await group.submit(self._database, grouped, conflict_key=self._key)
        return self._replay(earlier, stored) if earlier else _response(stored)

    async def run(
        self,
        body: BaseModel | None,
        work: Callable[Concatenate[AsyncConnection, P], Awaitable[Answer]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Response:
        """Calls `work(db, *args)` in a transaction of its own, and returns its answer."""
        claim = KeyedAnswer(self._key, self._fingerprint(body), self._status, None)
        async with self._database.transaction() as db:
            if earlier := (await claim_keys(db, [claim])).get(self._key):
                return self._replay(earlier, claim)
            answer = _json(await work(db, *args, **kwargs))
            if self._key:
                await store_answer(db, self._key, answer)
        return _response(KeyedAnswer(self._key, claim.fingerprint, self._status, answer))

    def _replay(self, earlier: KeyedAnswer, repeat: KeyedAnswer) -> Response:
        if earlier.fingerprint != repeat.fingerprint:
            detail = "This Idempotency-Key came with another request; take a new key."
            raise Problem(422, "key used before", detail)
        return _response(earlier, {"Idempotent-Replayed": "true"})

    def _fingerprint(self, body: BaseModel | None) -> bytes:
        """Returns a hash of method, path and body, which tells whether a key is used for the same request again."""
        work_on(lambda: [body.model_dump()] if body else [])
        if self._key is None:
            return b""
        path = self._request.url.path.lower()  # an id in upper case is the same
        asked = f"{self._request.method} {path} {body.model_dump_json() if body else ''}"
        return hashlib.sha256(asked.encode()).digest()


KEY = Header(
    min_length=1,
    max_length=255,
    description="Names the request: repeated with the same key it has one effect, and the first answer again.",
)


async def _idempotent(
    request: Request, principal: Authenticated, idempotency_key: Annotated[str | None, KEY] = None
) -> IdempotentTransaction:
    key = None if idempotency_key is None else OwnKey(principal.name, idempotency_key)
    return IdempotentTransaction(request, key)


Idempotent = Annotated[IdempotentTransaction, Depends(_idempotent)]


def share_transactions(app: FastAPI, work: GroupWork[T]) -> Group[T]:
    """Returns a group for `run_in_group`: `work(items, db)` writes many items in one transaction."""

    async def write(db: AsyncConnection, grouped: Sequence[GroupedItem[T]]) -> Sequence[KeyedAnswer | None]:
        work_on(lambda: [each.body.model_dump() for each in grouped if each.body])
        earlier = await claim_keys(db, [each.answer for each in grouped])
        new = [each for each in grouped if each.answer.key not in earlier]
        set_parents({each.aggregate_id: each.request for each in new if each.request})
        if new:
            await work([each.item for each in new], db)
        return [earlier.get(each.answer.key) for each in grouped]

    group: Group[T] = GroupCommit(write)
    app.state.groups.append(group)
    return group


def _json(answer: Answer) -> bytes:
    return (answer.model_dump_json() if isinstance(answer, BaseModel) else json.dumps(answer)).encode()


def _response(answer: KeyedAnswer, headers: dict[str, str] | None = None) -> Response:
    return Response(answer.body, answer.status, headers, media_type="application/json")
