"""Clocks: Postgres against this machine's, and Kafka's append time against the outbox row that it belongs to."""

from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, KafkaException, TopicPartition
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.databases import read_each, snapshot
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.errors import Unreachable
from fanout.kafka_reader import TIMEOUT, reader

LARGEST = timedelta(seconds=2)
MEANING = "ages, retention and what was first are judged by these clocks"
MEND = "set the clocks by the same time server (NTP)"


async def clocks(around: Surroundings) -> list[Finding]:
    if around.addresses is None:
        return []
    service, url = next(iter(around.addresses.databases.items()))
    async with snapshot(service, url) as db:
        await db.execute(_CLOCK)  # connecting takes longer than asking
        before = datetime.now(UTC)
        postgres = (await db.execute(_CLOCK)).scalar_one()
        after = datetime.now(UTC)
    found = [compared("Postgres", postgres, before, after)]
    newest = [row for rows in await read_each(around.addresses.databases, _newest) for row in rows]
    if newest:
        row = max(newest, key=lambda each: each.published_at)
        try:
            with reader(around.addresses.broker) as consumer:
                appended = _appended(consumer, row)
        except KafkaException as error:
            raise Unreachable("Kafka", around.addresses.kafka) from error
        if appended:
            found.append(compared("Kafka", appended, row.created_at, row.published_at))
    return found


def compared(whose: str, shown: datetime, earliest: datetime, latest: datetime) -> Finding:
    """`shown` must lie between the two times of another clock, but for what nobody minds."""
    off = max(earliest - shown, shown - latest, timedelta())
    if off <= LARGEST:
        return Finding("ok", "clocks", f"that of {whose} is right")
    direction = "ahead" if shown > latest else "behind"
    what = f"that of {whose} is {off.total_seconds():.0f} s {direction}"
    return Finding("watch", "clocks", what, MEANING, MEND)


async def _newest(_: str, db: AsyncConnection) -> list[Row[tuple[str, int, int, datetime, datetime]]]:
    return list((await db.execute(_NEWEST)).all())


def _appended(consumer: Consumer, row: Row[tuple[str, int, int, datetime, datetime]]) -> datetime | None:
    """Returns when Kafka appended the row's record; None if it does not have it any more."""
    consumer.assign([TopicPartition(row.topic, row.kafka_partition, row.kafka_offset)])
    message = consumer.poll(TIMEOUT)
    if message is None or message.error() or message.offset() != row.kafka_offset:
        return None
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


_CLOCK = text("SELECT clock_timestamp()")
_NEWEST = text("""
    SELECT topic, kafka_partition, kafka_offset, created_at, published_at FROM outbox
    WHERE published_at IS NOT NULL ORDER BY id DESC LIMIT 1
""")
