"""How long a killed consumer was silent, and what went on without it; all of it read from the databases."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from fanout.databases import snapshot

_NOW = text("SELECT clock_timestamp()")
# A transaction that was committing when the process was killed still counts as its last word.
_SILENCE = text("""
    SELECT received_at, next_received_at
    FROM (
        SELECT received_at, lead(received_at) OVER (ORDER BY received_at) AS next_received_at
        FROM inbox WHERE consumer = 'fraud'
    ) AS pairs
    WHERE next_received_at > :killed_at AND received_at < CAST(:killed_at AS timestamptz) + interval '1 s'
    ORDER BY next_received_at - received_at DESC
    LIMIT 1
""")
_SAID = text("SELECT aggregate_id, min(created_at) FROM outbox WHERE type = :type GROUP BY aggregate_id")


@dataclass(frozen=True, slots=True)
class Outage:
    """`unassessed` were confirmed while fraud was silent, before it had seen them; `caught_up`: seen later."""

    seconds: float
    unassessed: Collection[str]
    caught_up: Collection[str]

    def __str__(self) -> str:
        count, later = len(self.unassessed), len(self.caught_up)
        assessed = f"all {count}" if later == count else f"only {later}"
        return (
            f"fraud was dead for {self.seconds:.1f} s: {count} orders confirmed meanwhile, "
            f"{assessed} assessed after it came back"
        )


async def now(databases: Mapping[str, str]) -> datetime:
    """By the clock that stamps the receipts."""
    async with snapshot("fraud", databases["fraud"]) as db:
        moment: datetime = (await db.execute(_NOW)).scalar_one()
        return moment


async def outage(databases: Mapping[str, str], killed_at: datetime) -> Outage | None:
    """None if fraud has received nothing since."""
    async with snapshot("fraud", databases["fraud"]) as db:
        silence = (await db.execute(_SILENCE, {"killed_at": killed_at})).first()
    if silence is None:
        return None
    confirmed = await _said(databases, "orders", "OrderConfirmed")
    assessed = await _said(databases, "fraud", "FraudAssessed")
    return between(silence[0], silence[1], confirmed, assessed)


def between(
    last: datetime, back: datetime, confirmed: Mapping[str, datetime], assessed: Mapping[str, datetime]
) -> Outage:
    unassessed = {
        order
        for order, at in confirmed.items()
        if last < at < back and not (order in assessed and assessed[order] < back)
    }
    return Outage((back - last).total_seconds(), unassessed, unassessed & assessed.keys())


async def _said(databases: Mapping[str, str], service: str, type: str) -> dict[str, datetime]:
    async with snapshot(service, databases[service]) as db:
        return {row[0]: row[1] for row in await db.execute(_SAID, {"type": type})}
