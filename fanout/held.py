"""Partitions that a consumer cannot read on, as their services' databases show them."""

import asyncio
from collections.abc import Mapping

from sqlalchemy import text

from fanout.databases import snapshot

_HELD = text("""
    SELECT consumer, topic, partition, kafka_offset, error FROM held_partitions
    ORDER BY consumer, topic, partition
""")


async def held_partitions(databases: Mapping[str, str]) -> list[str]:
    """One sentence for each."""
    found = await asyncio.gather(*(_held(service, url) for service, url in databases.items()))
    return [sentence for sentences in found for sentence in sentences]


async def _held(service: str, url: str) -> list[str]:
    async with snapshot(service, url) as db:
        return [
            f"{row.consumer} cannot read {row.topic}[{row.partition}] at offset {row.kafka_offset}: {row.error}"
            for row in await db.execute(_HELD)
        ]
