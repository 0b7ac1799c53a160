"""The consumer that most examples show: one message, one transaction, one offset commit at a time."""

import time

from aiokafka import AIOKafkaConsumer
from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import insert as upsert

from chassis.consumer.inbox import inbox
from chassis.events.avro import decode
from schemas import OrderPlaced
from services.notifications.domain import placed
from services.notifications.service import message
from services.notifications.tables import messages
from tests.benchmarks.workbench import SERVICE, Workbench


async def plain_consumer(bench: Workbench, events: int) -> float:
    """Events per second, from the first message to the last commit."""
    await bench.forget_effects()
    consumer = AIOKafkaConsumer(
        bench.topic,
        bootstrap_servers=bench.addresses.kafka,
        group_id=bench.new_group(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        await consumer.getone()
        began = time.perf_counter()
        for _ in range(events):
            record = await consumer.getone()
            await apply(bench, dict(record.headers)["ce_id"].decode(), record.value)
            await consumer.commit()
        return events / (time.perf_counter() - began)
    finally:
        await consumer.stop()


async def apply(bench: Workbench, event_id: str, value: bytes) -> None:
    order = await decode(value, OrderPlaced, bench.registry)
    async with bench.database.engine.begin() as db:
        claim = (
            upsert(inbox)
            .values(consumer=SERVICE, event_id=event_id, status="applied")
            .on_conflict_do_nothing()
        )
        if (await db.execute(claim.returning(inbox.c.event_id))).first():
            body = placed(order.order_id, order.total_cents, order.currency)
            await db.execute(insert(messages), [message("order_placed", order, body)])
