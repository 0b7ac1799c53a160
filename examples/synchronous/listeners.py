"""Posts a payment to each listening service in turn, with pooled connections, a time-out and one retry with backoff."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

ATTEMPTS = 2
BACKOFF_SECONDS = 0.2
CONNECT_SECONDS = 0.5
POOL = httpx.Limits(max_connections=100, max_keepalive_connections=20)
OVERLOADED = 429


class NotTold(Exception):
    """A listener did not take the payment; it may have acted on it, if its answer was late."""


class Listeners:
    def __init__(self, urls: Sequence[str], seconds: float) -> None:
        self._urls = urls
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        self._http = httpx.AsyncClient(timeout=timeout, limits=POOL, trust_env=False)

    async def tell(self, payment_id: str, payment: Mapping[str, Any]) -> None:
        """Raises NotTold at the first listener that cannot be told; those behind it are not asked then."""
        for url in self._urls:
            await self._tell_one(url, payment_id, payment)

    async def _tell_one(self, url: str, payment_id: str, payment: Mapping[str, Any]) -> None:
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0.5, 1) * BACKOFF_SECONDS * 2 ** (attempt - 1))
            try:
                answer = await self._http.post(url, json=payment, headers={"Idempotency-Key": payment_id})
            except httpx.TransportError as error:
                problem = f"does not answer ({type(error).__name__})"
                continue
            if answer.is_success:
                return
            problem = f"answers {answer.status_code}"
            if answer.is_client_error and answer.status_code != OVERLOADED:
                break
        raise NotTold(f"{url} {problem}")

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)
