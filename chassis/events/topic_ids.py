"""The table `topic_ids`: the ids of the topics that a service has written or read, and when it first saw each.

A topic that is deleted and made anew has its name and another id, and its offsets begin at 0 again. So an offset says
which record is meant only together with the id of its topic.
"""

from sqlalchemy import Column, DateTime, PrimaryKeyConstraint, Table, Text, Uuid, func

from chassis.database import metadata

topic_ids = Table(
    "topic_ids",
    metadata,
    Column("topic", Text, nullable=False),
    Column("topic_id", Uuid, nullable=False),
    Column("first_seen_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    PrimaryKeyConstraint("topic", "topic_id"),
)
