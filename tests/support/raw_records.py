"""Records that no producer library would write: they are put together by hand and sent as they are."""

import asyncio
import time

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.structs import TopicPartition

from chassis.config import Broker


class Undecodable(str):
    """A header name whose bytes on the wire are no UTF-8."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode(encoding, errors)


async def send_with_undecodable_header_name(kafka: Broker, topic: str, value: bytes) -> None:
    """To partition 0."""
    batch = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, -1, 2**20)
    batch.append(
        0,
        timestamp=time.time_ns() // 1_000_000,
        key=b"o-1",
        value=value,
        headers=[(Undecodable("name"), b"1")],
    )
    request = ProduceRequest(
        transactional_id=None, required_acks=-1, timeout=10_000, topics=[(topic, [(0, bytes(batch.build()))])]
    )
    client = AIOKafkaClient(**kafka.for_aiokafka())
    await client.bootstrap()
    try:
        await client.set_topics([topic])
        async with asyncio.timeout(10):
            while await _is_refused(client, request, TopicPartition(topic, 0)):
                await client.force_metadata_update()
    finally:
        await client.close()


async def _is_refused(client: AIOKafkaClient, request: ProduceRequest, partition: TopicPartition) -> bool:
    """A broker leads the partitions of a new topic a moment after it says so."""
    leader = client.cluster.leader_for_partition(partition)
    if leader is None:
        return True
    [(_, [(_, error, *_)])] = (await client.send(leader, request)).topics
    return bool(error)
