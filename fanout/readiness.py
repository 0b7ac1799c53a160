"""Asks workers which of the contracts of their own events the registry does not have."""

import asyncio
from collections.abc import Mapping

import httpx

ANSWER_SECONDS = 2.0


async def unregistered(workers: Mapping[str, str]) -> list[str]:
    """Returns a sentence for each missing contract. `workers`: addresses by service; silent ones are left out."""
    async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
        found = await asyncio.gather(*(_missing(client, address) for address in workers.values()))
    return [
        f"{name}-worker is not ready: {each}"
        for name, missing in zip(workers, found, strict=True)
        for each in missing
    ]


async def _missing(client: httpx.AsyncClient, address: str) -> list[str]:
    try:
        answer = (await client.get(f"{address}/health/ready")).json()
        return [str(each) for each in answer.get("not_registered", ())]
    except (httpx.HTTPError, ValueError, AttributeError, TypeError):
        return []
