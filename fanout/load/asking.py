"""One POST that is asked again, with the same Idempotency-Key, until there is an answer or no patience left."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal
from uuid import uuid4

import httpx

State = Literal["ok", "failed", "unknown", "refused"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`failed` had no effect; `unknown` may have had one. `refused` had none so far and is worth asking again."""

    state: State
    body: Mapping[str, Any]
    problem: str = ""


async def ask(
    client: httpx.AsyncClient,
    url: str,
    body: Mapping[str, Any],
    patience: float,
    not_yet: Collection[int] = (),
) -> Answer:
    """Asks again after a time-out, a broken connection, a 5xx or a status in `not_yet`, for `patience` seconds.

    Never returns `refused`. A time-out is unknown, not failed: the server may have committed.
    """
    request = client.build_request("POST", url, json=body, headers={"Idempotency-Key": str(uuid4())})
    deadline, doubtful = perf_counter() + patience, False
    for pause in _pauses():
        answer = await _once(client, request, not_yet)
        if answer.state in ("ok", "failed"):
            return answer
        doubtful = doubtful or answer.state == "unknown"
        if perf_counter() + pause > deadline:
            return replace(answer, state="unknown" if doubtful else "failed")
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def _once(client: httpx.AsyncClient, request: httpx.Request, not_yet: Collection[int]) -> Answer:
    try:
        response = await client.send(request)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        return Answer("refused", {}, f"{type(error).__name__}: {error}")
    except httpx.TransportError as error:
        return Answer("unknown", {}, f"{type(error).__name__}: {error}")
    if response.is_success:
        return Answer("ok", response.json())
    problem = f"{response.status_code}: {response.text[:200]}"
    if response.status_code in not_yet:
        return Answer("refused", {}, problem)
    return Answer("unknown" if response.is_server_error else "failed", {}, problem)


def _pauses(first: float = 0.1, longest: float = 2.0) -> Iterator[float]:
    while True:
        yield first
        first = min(first * 2, longest)
