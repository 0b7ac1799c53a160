"""Asks the dead_letters API; what it refuses is said in its own words, and a silence is waited out for a while."""

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx

from fanout.errors import FanoutError, Refusal, RefusedInput, Unreachable
from fanout.running import running

SERVICE = "dead_letters"
ANSWER_SECONDS = 30
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.5
AT_ONCE = 500
BUSY = 503
INVALID = 422


class Client:
    """Every request may be asked again: a POST has a key, or touches only what is still parked."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        self._url = url
        self._patience = patience
        self._http = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        wanted = {name: value for name, value in asked.items() if value is not None}
        return self._answer(self._http.build_request("GET", path, params=wanted))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid4())}
        return self._answer(self._http.build_request("POST", path, json=body, headers=headers))

    def pages(self, path: str, body: Mapping[str, Any]) -> Iterator[int]:
        """How many letters each page of a long piece of work was about, as it gets on."""
        after: int | None = 0
        while after is not None:
            done = self.post(path, {**body, "after": after, "limit": AT_ONCE})
            after = done["next_after"]
            yield done["count"]

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        while True:
            answer = self._try(request)
            if answer is not None and answer.status_code != BUSY:
                return _accepted(answer)
            if time.monotonic() > deadline:
                raise Unreachable(f"the API of {SERVICE}", self._url)
            time.sleep(PAUSE_SECONDS)

    def _try(self, request: httpx.Request) -> httpx.Response | None:
        try:
            return self._http.send(request)
        except httpx.TransportError:
            return None


def open_client() -> Client:
    apis = running().apis
    if SERVICE not in apis:
        raise FanoutError(f"this stack was started without {SERVICE}: fanout down, then fanout up")
    return Client(apis[SERVICE])


def _accepted(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    raise (RefusedInput if answer.status_code == INVALID else Refusal)(_reason(answer))


def _reason(answer: httpx.Response) -> str:
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return str(answer.json()["detail"])
    return f"the API of {SERVICE} answered {answer.status_code}: {answer.text[:200]}"
