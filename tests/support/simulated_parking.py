"""Parks events in a simulated system and redrives them, so that they are applied late, and perhaps corrected."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text

from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, advance
from chassis.dead_letters.redrive import Redrive, redrive_dead_letters
from chassis.events.avro import frame
from chassis.events.dead_letter import Origin
from chassis.events.topics import redrive_topic
from chassis.outbox.table import load_headers
from chassis.service import load
from schemas import Event
from tests.support.simulated_system import SENT, TYPES, SimulatedSystem, event_of

SCHEMA_ID = 7


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
    """Gives the consumer a receipt that parks the event before it is delivered, so that delivery passes over it."""
    wanted = f"SELECT * FROM outbox WHERE aggregate_id = '{order}' AND type = '{event_type}'"
    [row] = await simulated.run(producer, wanted)
    topic = TYPES[event_type].TOPIC
    await simulated.run(
        consumer,
        "INSERT INTO inbox (consumer, event_id, status) "
        f"VALUES ('{consumer}', '{row.event_id}', 'parked'); "
        "INSERT INTO parked (consumer, topic, partition, kafka_offset, event_id, key, headers, record_at, failure, "
        f"error_type, error_message, attempts, first_failed_at) VALUES ('{consumer}', '{topic}', 0, "
        f"{simulated.offsets[topic]}, '{row.event_id}', '{order}', '[]', now(), 'permanent', 'Bug', 'a bug', 1, now())",
    )
    return Parked(consumer, row, topic, simulated.offsets[topic])


async def redrive(simulated: SimulatedSystem, parked: Parked, correction: Event | None = None) -> None:
    """Sends the dead letter again, as an operator does, and hands it to its consumer."""
    row, consumer, topic = parked.row, parked.consumer, redrive_topic(parked.topic, parked.consumer)
    await simulated.run(
        consumer,
        f"UPDATE consumer_offsets SET applied = applied - 1, parked = parked + 1 WHERE topic = '{parked.topic}'",
    )
    now = datetime.now(UTC)
    origin = Origin(parked.topic, 0, parked.offset, now, 1, now, redrive=1)
    value, headers = frame(SCHEMA_ID, row.payload), load_headers(row.headers)
    offset = simulated.offsets[topic]
    simulated.offsets[topic] += 1
    async with simulated.databases["dead_letters"].transaction() as db:
        await redrive_dead_letters(db, [Redrive(consumer, origin, row.key, value, headers, correction)])
        [(id,)] = await db.execute(text("SELECT max(id) FROM outbox"))
        await db.execute(SENT, {"offset": offset, "id": id})
    event = correction or event_of(row)
    async with simulated.databases[consumer].transaction() as db:
        assert await claim(db, consumer, [(row.event_id, 1)])
        await load(consumer).handlers[type(event)]([event], db)
        await advance(db, consumer, topic, 0, offset + 1, BatchCounts(received=1, applied=1))
