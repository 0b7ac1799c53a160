"""Asks running workers at `/health/ready` what they handle, and which contracts of their own events are missing."""

import asyncio
from collections.abc import Mapping

import httpx

ANSWER_SECONDS = 2.0


async def unregistered(workers: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each missing contract. `workers`: addresses by service; silent ones are left out."""
    found = await listed(workers, "not_registered", ANSWER_SECONDS)
    return [f"{name}-worker is not ready: {each}" for name, missing in found.items() for each in missing]


async def listed(workers: Mapping[str, str], name: str, seconds: float) -> dict[str, list[str]]:
    """Returns the list of this name in each worker's answer, by service; an empty list without such an answer."""
    async with httpx.AsyncClient(timeout=seconds, trust_env=False) as client:
        found = await asyncio.gather(*(_list(client, address, name) for address in workers.values()))
    return dict(zip(workers, found, strict=True))


async def _list(client: httpx.AsyncClient, address: str, name: str) -> list[str]:
    try:
        return [str(each) for each in (await client.get(f"{address}/health/ready")).json().get(name, ())]
    except (httpx.HTTPError, ValueError, AttributeError, TypeError):
        return []
