"""Parks events in a simulated system and redrives them, so that they are applied late, and perhaps corrected."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select, text

from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, advance
from chassis.events.avro import frame
from chassis.events.record import Record
from chassis.events.topics import redrive_topic
from chassis.outbox.table import load_headers
from chassis.service import load
from schemas import Event
from services.dead_letters.actions import Reason, redrive_one
from services.dead_letters.tables import dead_letters
from tests.support.simulated_system import SCHEMA_ID, SENT, TYPES, SimulatedSystem, event_of


@dataclass(frozen=True)
class Parked:
    """What a consumer has parked: the outbox row that it received, and where it was in Kafka."""

    consumer: str
    row: Row[Any]
    topic: str
    offset: int


async def park(
    simulated: SimulatedSystem, consumer: str, producer: str, event_type: str, order: str
) -> Parked:
    """Lets the consumer park the event before it is delivered, so that delivery passes over it."""
    wanted = f"SELECT * FROM outbox WHERE aggregate_id = '{order}' AND type = '{event_type}'"
    [row] = await simulated.run(producer, wanted)
    topic = TYPES[event_type].TOPIC
    offset, at = simulated.offsets[topic], round(row.created_at.timestamp() * 1000)
    value = frame(SCHEMA_ID, row.payload)
    await simulated.park(consumer, Record(topic, 0, offset, at, row.key, value, load_headers(row.headers)))
    return Parked(consumer, row, topic, offset)


async def redrive(simulated: SimulatedSystem, parked: Parked, correction: Event | None = None) -> None:
    """Sends the dead letter again, as an operator does, and hands it to its consumer."""
    row, consumer, topic = parked.row, parked.consumer, redrive_topic(parked.topic, parked.consumer)
    await simulated.run(
        consumer,
        "UPDATE consumer_offsets SET applied = applied - 1, duplicates = duplicates + 1 "
        f"WHERE topic = '{parked.topic}'",
    )
    offset = simulated.offsets[topic]
    simulated.offsets[topic] += 1
    async with simulated.databases["dead_letters"].transaction() as db:
        mine = (dead_letters.c.consumer == consumer) & (dead_letters.c.event_id == row.event_id)
        [letter] = await db.execute(select(dead_letters).where(mine))
        await redrive_one(db, letter, Reason("ada", "a test"), correction)
        [(id,)] = await db.execute(text("SELECT max(id) FROM outbox"))
        await db.execute(SENT, {"offset": offset, "id": id})
    event = correction or event_of(row)
    async with simulated.databases[consumer].transaction() as db:
        assert await claim(db, consumer, [(row.event_id, 1)])
        await load(consumer).handlers[type(event)]([event], db)
        await advance(db, consumer, topic, 0, offset + 1, BatchCounts(received=1, applied=1))
