"""Calls the API of dead_letters: repeats requests while it does not answer, and passes on its refusals."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Literal
from uuid import uuid4

import httpx

from fanout.drafts import delete_draft, drafted
from fanout.errors import FanoutError, Refusal, RefusedInput, Unreachable
from fanout.running import Addresses, running
from fanout.tokens import bearer, signer

Action = Literal["redrive", "discard"]

SERVICE = "dead_letters"
ANSWER_SECONDS = 30
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.5
AT_ONCE = 500
BUSY = 503
INVALID = 422


class Unavailable(FanoutError):
    """The API answered all the time, and said why it cannot do what was asked now."""

    exit_code = 2

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(
            f"the API of {SERVICE} answers {answer.status_code}: {_sentence(answer).rstrip('.')}: fanout status"
        )


class DeadLettersClient:
    """Every request can be repeated: a POST has an Idempotency-Key, or changes only what is still parked."""

    def __init__(self, http: httpx.Client, patience: float = PATIENCE_SECONDS) -> None:
        self._http = http
        self._patience = patience

    def get(self, path: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._answer(self._http.build_request("GET", path, params=given))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": str(uuid4())}
        return self._answer(self._http.build_request("POST", path, json=body, headers=headers))

    def decide(self, action: Action, dead_letter_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Acts on one dead letter and returns it; what was kept as its correction is deleted."""
        decided = self.post(f"/dead-letters/{dead_letter_id}/{action}", body)
        delete_draft(dead_letter_id)
        return decided

    def decide_all(self, action: Action, body: Mapping[str, Any]) -> Iterator[int]:
        """Repeats a bulk POST until nothing is left, and yields how many dead letters each page changed."""
        after: int | None = 0
        while after is not None:
            done = self.post(f"/dead-letters/{action}", {**body, "after": after, "limit": AT_ONCE})
            after = done["next_after"]
            yield done["count"]
        self._delete_drafts_of_decided()

    def _delete_drafts_of_decided(self) -> None:
        for dead_letter_id in list(drafted()):
            with suppress(
                Refusal
            ):  # the API knows no such dead letter: the text may be all that is left of it
                if self.get(f"/dead-letters/{dead_letter_id}", {})["status"] != "parked":
                    delete_draft(dead_letter_id)

    def _answer(self, request: httpx.Request) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = self._http.send(request)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code != BUSY:
                return _accepted(answer)
            if time.monotonic() > deadline:
                if answer is not None:
                    raise Unavailable(answer)
                raise Unreachable(f"the API of {SERVICE}", str(self._http.base_url))
            time.sleep(PAUSE_SECONDS)


@contextmanager
def open_client(
    who: str | None = None, addresses: Addresses | None = None, patience: float = PATIENCE_SECONDS
) -> Iterator[DeadLettersClient]:
    """Connects to the API of the running system, or to that at `addresses`, as the operator `who`; default: you."""
    system = addresses or running()
    if (url := system.apis.get(SERVICE)) is None:
        raise FanoutError(f"this stack was started without {SERVICE}: fanout down, then fanout up")
    headers = bearer(signer(system).operator(who))
    with httpx.Client(base_url=url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False) as http:
        yield DeadLettersClient(http, patience)


def _accepted(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_success:
        found: dict[str, Any] = answer.json()
        return found
    reason = _sentence(answer)
    if not _is_problem(answer):
        reason = f"the API of {SERVICE} answered {answer.status_code}: {reason}"
    raise (RefusedInput if answer.status_code == INVALID else Refusal)(reason)


def _sentence(answer: httpx.Response) -> str:
    return str(answer.json()["detail"]) if _is_problem(answer) else answer.text[:200]


def _is_problem(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).startswith("application/problem+json")
