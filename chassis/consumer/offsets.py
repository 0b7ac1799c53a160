"""How far a consumer has come, and what it did on the way: counted in the transaction that did it."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, PrimaryKeyConstraint, Table, Text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import driver, metadata

COUNTS = ("received", "applied", "repeated", "parked")

progress = Table(
    "progress",
    metadata,
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    *(Column(count, BigInteger, nullable=False) for count in COUNTS),
    PrimaryKeyConstraint("consumer", "topic", "partition"),
    CheckConstraint("received = applied + repeated + parked", name="progress_adds_up"),
)

ADVANCE = """
    INSERT INTO progress AS sofar
        (consumer, topic, partition, next_offset, received, applied, repeated, parked)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (consumer, topic, partition) DO UPDATE SET
        next_offset = greatest(sofar.next_offset, excluded.next_offset),
        received = sofar.received + excluded.received,
        applied = sofar.applied + excluded.applied,
        repeated = sofar.repeated + excluded.repeated,
        parked = sofar.parked + excluded.parked
"""


@dataclass(slots=True)
class Tally:
    """What became of records addressed to us. `applied` counts what reactions were given, whatever the inbox says."""

    received: int
    applied: int = 0
    repeated: int = 0
    parked: int = 0


async def advance(
    db: AsyncConnection, consumer: str, topic: str, partition: int, next_offset: int, tally: Tally
) -> None:
    counts = (getattr(tally, count) for count in COUNTS)
    await driver(db).execute(ADVANCE, consumer, topic, partition, next_offset, *counts)
