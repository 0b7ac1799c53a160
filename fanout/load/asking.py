"""One POST that is asked again, with the same Idempotency-Key, until there is an answer or no patience left."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal
from uuid import uuid4

import httpx

State = Literal["ok", "failed", "unknown"]
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`unknown`: at least one request may have arrived, and nobody said what became of it."""

    state: State
    body: Mapping[str, Any]
    problem: str = ""


async def ask(
    client: httpx.AsyncClient, url: str, body: Mapping[str, Any], patience: float, also: tuple[int, ...] = ()
) -> Answer:
    """Asks again after a time-out, a broken connection, a 5xx or a status in `also`, for `patience` seconds."""
    headers = {"Idempotency-Key": str(uuid4())}
    deadline, pause, arrived, problem = perf_counter() + patience, FIRST_PAUSE, False, ""
    while True:
        try:
            response = await client.post(url, json=body, headers=headers)
        except httpx.TransportError as error:
            arrived = arrived or not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            problem = f"{type(error).__name__}: {error}"
        else:
            if response.is_success:
                return Answer("ok", response.json())
            problem = f"{response.status_code}: {response.text[:200]}"
            if response.status_code < 500 and response.status_code not in also:
                return Answer("failed", {}, problem)
            arrived = arrived or response.status_code >= 500
        if perf_counter() + pause > deadline:
            return Answer("unknown" if arrived else "failed", {}, problem)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
