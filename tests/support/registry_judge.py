"""Asks a live schema registry for its verdicts, by its API compatible with Confluent's, and leaves nothing behind."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

import httpx

STRICTEST = "FULL_TRANSITIVE"
THREADS = 12
Item = TypeVar("Item")
Verdict = TypeVar("Verdict")


class RegistryJudge:
    """Registers schemas under subjects of its own; each is deleted, for good, when its verdict is there."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=60, limits=limits)
        self._prefix = f"corpus-{uuid4().hex[:12]}"
        self._numbers = count(1)

    def accepts(self, published: Sequence[Any], *candidates: Any, level: str = STRICTEST) -> list[bool]:
        """Returns for each candidate whether the registry calls it compatible with what is published."""

        def ask(subject: str) -> list[bool]:
            return [self._is_compatible(subject, candidate) for candidate in candidates]

        return self._with_subject(published, level, ask)

    def status_of_registering(self, published: Sequence[Any], new: Any) -> int:
        """Returns the answer to registering `new` as the next version, or as the first."""
        return self._with_subject(
            published, STRICTEST, lambda subject: self._register(subject, new).status_code
        )

    def all_of(self, ask: Callable[[Item], Verdict], items: Iterable[Item]) -> list[Verdict]:
        """Returns the verdicts on many, in their order."""
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(ask, items))

    def subjects_left(self) -> list[str]:
        subjects: list[str] = self._http.get("/subjects", params={"deleted": True}).raise_for_status().json()
        return [subject for subject in subjects if subject.startswith(self._prefix)]

    def close(self) -> None:
        self._http.close()

    def _with_subject(self, published: Sequence[Any], level: str, ask: Callable[[str], Verdict]) -> Verdict:
        subject = f"{self._prefix}-{next(self._numbers)}"
        try:
            self._publish(subject, published, level)
            return ask(subject)
        finally:
            self._http.delete(f"/subjects/{subject}")
            self._http.delete(f"/subjects/{subject}", params={"permanent": True})

    def _publish(self, subject: str, published: Sequence[Any], level: str) -> None:
        """Registers versions, compatible or not, and then lets the level hold."""
        for schema in published:
            self._register(subject, schema).raise_for_status()
            self._set_level(subject, "NONE" if schema is not published[-1] else level)

    def _set_level(self, subject: str, level: str) -> None:
        self._http.put(f"/config/{subject}", json={"compatibility": level}).raise_for_status()

    def _register(self, subject: str, schema: Any) -> httpx.Response:
        return self._http.post(f"/subjects/{subject}/versions", json={"schema": json.dumps(schema)})

    def _is_compatible(self, subject: str, schema: Any) -> bool:
        """A schema that the registry cannot even compare is answered with 422."""
        answer = self._http.post(
            f"/compatibility/subjects/{subject}/versions",
            params={"verbose": True},
            json={"schema": json.dumps(schema)},
        )
        return answer.status_code != 422 and bool(answer.raise_for_status().json()["is_compatible"])
