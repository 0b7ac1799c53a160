"""Partitions that cannot be read on: shown in log, metrics, readiness and database, and tried again now and then."""

import structlog

from chassis import telemetry
from chassis.consumer.outages import short
from chassis.consumer.positions import Partition, Positions
from chassis.liveness import running_seconds

TRY_AGAIN_SECONDS = 30.0

log = structlog.get_logger()


class HeldPartitions:
    """Those of one session. The other partitions go on."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._again_at: dict[Partition, float] = {}
        self._reasons: dict[Partition, str] = {}

    def may_be_read(self, partition: Partition) -> bool:
        return running_seconds() >= self._again_at.get(partition, 0.0)

    async def hold(self, partition: Partition, offset: int, error: Exception) -> None:
        if partition not in self._reasons:
            topic, number = partition
            log.error("partition_held", topic=topic, partition=number, offset=offset, error=short(error))
        self._again_at[partition] = running_seconds() + TRY_AGAIN_SECONDS
        self._reasons[partition] = f"at offset {offset}: {short(error)}"
        telemetry.HELD.labels(self._positions.consumer, *map(str, partition)).set(1)
        await self._positions.hold(partition, offset, error)

    async def release(self, partition: Partition) -> None:
        """Its records have come, so it can be read on."""
        if self._reasons.pop(partition, None):
            del self._again_at[partition]
            telemetry.HELD.remove(self._positions.consumer, *map(str, partition))
            await self._positions.release(partition)

    def clear(self) -> None:
        """Forgets all of them: others go on with these partitions."""
        self._again_at.clear()
        self._reasons.clear()
        telemetry.HELD.clear()

    def described(self) -> list[str]:
        return [f"{topic}[{number}] {reason}" for (topic, number), reason in self._reasons.items()]
