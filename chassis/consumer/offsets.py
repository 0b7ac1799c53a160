"""How far a consumer has come, and what it did on the way: counted in the transaction that did it."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata

COUNTS = ("received", "applied", "duplicates", "parked")

consumer_offsets = Table(
    "consumer_offsets",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    *(Column(count, BigInteger, nullable=False) for count in COUNTS),
    PrimaryKeyConstraint("consumer", "topic", "partition"),
    CheckConstraint("received = applied + duplicates + parked", name="consumer_offsets_add_up"),
)

ADVANCE = """
    INSERT INTO consumer_offsets AS sofar
        (consumer, topic, partition, next_offset, received, applied, duplicates, parked)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET
        next_offset = greatest(sofar.next_offset, excluded.next_offset),
        received = sofar.received + excluded.received,
        applied = sofar.applied + excluded.applied,
        duplicates = sofar.duplicates + excluded.duplicates,
        parked = sofar.parked + excluded.parked
"""


@dataclass(slots=True)
class BatchCounts:
    """What became of records addressed to us. `applied` counts what reactions were given, whatever the inbox says."""

    received: int
    applied: int = 0
    duplicates: int = 0
    parked: int = 0


async def advance(
    db: AsyncConnection, consumer: str, topic: str, partition: int, next_offset: int, counts: BatchCounts
) -> None:
    values = (getattr(counts, name) for name in COUNTS)
    await driver(db).execute(ADVANCE, consumer, topic, partition, next_offset, *values)
