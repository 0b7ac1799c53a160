"""One POST, and what became of it; a patient customer asks again with the same Idempotency-Key."""

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal
from uuid import uuid4

from fanout.load.http import Client, NoAnswer, NotConnected, Response

State = Literal["ok", "refused", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Answer:
    """`refused` is a 503 with Retry-After; `failed` had no effect; `unknown` may have had one."""

    state: State
    body: Mapping[str, Any]
    problem: str = ""
    ask_again: Literal["no", "if patient", "yes"] = "no"
    after: float = 0.0
    """Seconds that the server wants the customer to wait."""


async def ask(
    client: Client,
    path: str,
    body: Mapping[str, Any],
    patience: float,
    patient: bool,
    not_yet: Collection[int] = (),
) -> Answer:
    """Asks again for `patience` seconds: always after a status in `not_yet`, and if `patient` after a refusal,
    a 5xx, a time-out or a broken connection.

    A time-out is unknown, not failed: the server may have committed.
    """
    sent, headers = json.dumps(body).encode(), {"Idempotency-Key": str(uuid4())}
    deadline, doubtful = perf_counter() + patience, False
    for pause in _pauses():
        answer = await _once(client, path, sent, headers, not_yet)
        if answer.ask_again == "no":
            return answer
        doubtful = doubtful or answer.state == "unknown"
        pause = max(pause, answer.after)
        gives_up = answer.ask_again == "if patient" and not patient
        if gives_up or perf_counter() + pause > deadline:
            return replace(answer, state="unknown") if doubtful else answer
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")


async def _once(
    client: Client, path: str, body: bytes, headers: Mapping[str, str], not_yet: Collection[int]
) -> Answer:
    try:
        return _answer(await client.post(path, body, headers), not_yet)
    except NotConnected as error:
        return Answer("failed", {}, f"not connected: {error}", "if patient")
    except NoAnswer as error:
        return Answer("unknown", {}, f"no answer: {error}", "if patient")


def _answer(response: Response, not_yet: Collection[int]) -> Answer:
    if 200 <= response.status < 300:
        return Answer("ok", json.loads(response.body))
    problem = f"{response.status}: {response.body[:200].decode(errors='replace')}"
    if response.status in not_yet:
        return Answer("failed", {}, problem, "yes")
    if response.status == 503 and "retry-after" in response.headers:
        return Answer("refused", {}, problem, "if patient", _seconds(response.headers["retry-after"]))
    if response.status >= 500:
        return Answer("unknown", {}, problem, "if patient")
    return Answer("failed", {}, problem)


def _seconds(retry_after: str) -> float:
    """A date instead of seconds counts as one second."""
    return float(retry_after) if retry_after.isdecimal() else 1.0


def _pauses(first: float = 0.1, longest: float = 2.0) -> Iterator[float]:
    while True:
        yield first
        first = min(first * 2, longest)
