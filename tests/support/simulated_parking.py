"""Lets consumers of a simulated system park events, and redrives them: they are applied late, and perhaps corrected."""

from sqlalchemy import Row, text

from chassis.consumer.inbox import claim
from chassis.consumer.offsets import BatchCounts, advance
from chassis.events.topics import redrive_topic
from chassis.service import load
from schemas import Event
from services.dead_letters.actions import Reason, lock, redrive_one
from tests.support.simulated_system import SENT, SimulatedSystem, event_of

OF_EVENT = "SELECT * FROM outbox WHERE aggregate_id = '{}' AND type = '{}'"


async def refuse(
    simulated: SimulatedSystem, consumer: str, producer: str, event_type: str, order: str
) -> Row[tuple[object, ...]]:
    """Makes the consumer park an event that is not delivered yet. Returns the event's outbox row."""
    [row] = await simulated.run(producer, OF_EVENT.format(order, event_type))
    simulated.refused.add((consumer, str(row.event_id)))
    return row


async def redrive(
    simulated: SimulatedSystem, consumer: str, row: Row[tuple[object, ...]], correction: Event | None = None
) -> None:
    """Sends the dead letter again, as an operator does, and hands it to its consumer."""
    event = correction or event_of(row)
    topic = redrive_topic(event.TOPIC, consumer)
    offset = simulated.offsets[topic]
    simulated.offsets[topic] += 1
    of_event = f"SELECT dead_letter_id FROM dead_letters WHERE consumer = '{consumer}' AND event_id = '{row.event_id}'"
    [(dead_letter_id,)] = await simulated.run("dead_letters", of_event)
    async with simulated.databases["dead_letters"].transaction() as db:
        dead_letter = await lock(db, dead_letter_id)
        assert dead_letter
        await redrive_one(db, dead_letter, Reason("ada", "a test"), correction)
        [(id,)] = await db.execute(text("SELECT max(id) FROM outbox"))
        await db.execute(SENT, {"offset": offset, "id": id})
    async with simulated.databases[consumer].transaction() as db:
        assert await claim(db, consumer, [(row.event_id, 1)])
        await load(consumer).handlers[type(event)]([event], db)
        await advance(db, consumer, topic, 0, offset + 1, BatchCounts(received=1, applied=1))
