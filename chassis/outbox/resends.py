"""The table `resends`: who had sent rows of this outbox sent once more, when, why, which, and how many."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Table, Text, func

from chassis.database import metadata

resends = Table(
    "resends",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("rows", BigInteger, nullable=False, server_default="0"),
)
