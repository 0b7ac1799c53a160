"""Plays the demo: customers order, the fraud worker is killed and comes back, one truncated message is corrected.

What is shown afterwards is counted in the databases.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from time import monotonic
from typing import Any, TypeVar

import httpx
from sqlalchemy import text
from uuid_utils.compat import uuid7

from fanout.commands import processes
from fanout.commands.poison import poison
from fanout.console import Tell, counted
from fanout.databases import snapshot
from fanout.dead_letters_client import open_client
from fanout.errors import FanoutError
from fanout.load import LoadReport, Placement, place_orders, purchases
from fanout.running import Addresses
from fanout.tokens import bearer, signer
from fanout.verify.invariants import Query, discover
from fanout.verify.records import Facts
from fanout.verify.snapshot import read_facts

T = TypeVar("T")

VICTIM = "fraud-worker"
SEED = 1
PROGRESS_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
CORRECTION_SECONDS = 30.0
WHY = "it was truncated by a bug"
STAGES = ("placed", "confirmed", "shipped", "cancelled")
PROGRESS_FACTS = {*(f"orders.{stage}" for stage in STAGES), "fraud.assessed"}


@dataclass(frozen=True, slots=True)
class Played:
    load: LoadReport
    killed_at: datetime


async def play(addresses: Addresses, orders: int, rate: float, tell: Tell, note: Tell) -> Played:
    """Places orders and kills the fraud worker in the middle; returns when all are answered and invoices paid.

    `tell` shows progress, `note` what stays on the screen.
    """
    placed: list[str] = []
    middle = asyncio.Event()

    def watch(placement: Placement) -> None:
        placed.append(placement.order_id or "")
        if len(placed) >= orders // 2:
            middle.set()

    async def kill() -> datetime:
        await middle.wait()
        async with snapshot("fraud", addresses.databases["fraud"]) as db:
            killed_at: datetime = (await db.execute(_NOW)).scalar_one()
        note(await asyncio.to_thread(processes.send, VICTIM))
        return killed_at

    watching = asyncio.create_task(_show_progress(addresses, placed, tell))
    killing = asyncio.create_task(kill())
    wanted = list(islice(purchases(SEED), orders))
    try:
        load = await place_orders(
            addresses, wanted, rate, patient=True, patience=PATIENCE_SECONDS, watch=watch
        )
        return Played(load, await killing)
    finally:
        for task in (watching, killing):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _show_progress(addresses: Addresses, placed: list[str], tell: Tell) -> None:
    """Reads only what became of the orders of this run, so that the demo does not slow down the system."""
    first = str(uuid7())  # ids of orders grow with time
    shown = [since(query, first) for query in discover() if query.name in PROGRESS_FACTS]
    databases = {service: addresses.databases[service] for service in {query.service for query in shown}}
    while True:
        with suppress(FanoutError):
            tell(progress(placed, await read_facts(databases, shown)))
        await asyncio.sleep(PROGRESS_SECONDS)


def since(query: Query, order_id: str) -> Query:
    """Returns the query for orders from this one on."""
    return replace(
        query, sql=f"SELECT * FROM ({query.sql}) AS fact (order_id) WHERE order_id >= '{order_id}'"
    )


def progress(order_ids: Sequence[str], facts: Facts) -> str:
    mine = set(order_ids)
    counts = {stage: len(mine & facts[f"orders.{stage}"].keys()) for stage in STAGES}
    counts["assessed by fraud"] = len(mine & facts["fraud.assessed"].keys())
    return ", ".join(f"{stage} {count}" for stage, count in counts.items())


def outcomes(order_ids: Collection[str], facts: Facts) -> dict[str, int]:
    """Counts each order in exactly one outcome; an order both declined and out of stock counts as declined."""
    mine = set(order_ids)
    shipped = mine & facts["orders.shipped"].keys()
    confirmed = (mine & facts["orders.confirmed"].keys()) - shipped
    cancelled = mine & facts["orders.cancelled"].keys()
    declined = cancelled & facts["payments.declined"].keys()
    out_of_stock = (cancelled & facts["inventory.rejected"].keys()) - declined
    return {
        "shipped": len(shipped),
        "confirmed, not yet shipped": len(confirmed),
        "cancelled, payment declined": len(declined),
        "cancelled, out of stock": len(out_of_stock),
        "cancelled, other reasons": len(cancelled - declined - out_of_stock),
        "not decided": len(mine - shipped - confirmed - cancelled),
    }


@dataclass(frozen=True, slots=True)
class Outage:
    """`unassessed` were confirmed while fraud was dead, before it had received them; `caught_up`: received later."""

    seconds: float
    unassessed: Collection[str]
    caught_up: Collection[str]

    def __str__(self) -> str:
        count, later = len(self.unassessed), len(self.caught_up)
        assessed = f"all {count}" if later == count else f"only {later}"
        return (
            f"fraud was dead for {self.seconds:.1f} s: {counted(count, 'order')} confirmed meanwhile, "
            f"{assessed} assessed after it came back"
        )


async def outage(databases: Mapping[str, str], killed_at: datetime) -> Outage | None:
    """Returns None if fraud has received nothing since it was killed."""
    async with snapshot("fraud", databases["fraud"]) as db:
        gap = (await db.execute(_LONGEST_GAP, {"killed_at": killed_at})).first()
    if gap is None:
        return None
    confirmed = await _published(databases, "orders", "OrderConfirmed")
    assessed = await _published(databases, "fraud", "FraudAssessed")
    return between(gap[0], gap[1], confirmed, assessed)


def between(
    last: datetime, back: datetime, confirmed: Mapping[str, datetime], assessed: Mapping[str, datetime]
) -> Outage:
    unassessed = {
        order
        for order, at in confirmed.items()
        if last < at < back and not (order in assessed and assessed[order] < back)
    }
    return Outage((back - last).total_seconds(), unassessed, unassessed & assessed.keys())


async def _published(databases: Mapping[str, str], service: str, type: str) -> dict[str, datetime]:
    async with snapshot(service, databases[service]) as db:
        return {row[0]: row[1] for row in await db.execute(_PUBLISHED, {"type": type})}


async def correct_one(addresses: Addresses, tell: Tell) -> list[str]:
    """Truncates one message as `fanout poison` does, corrects and redrives it; returns what happened, line by line."""
    since = datetime.now(UTC).isoformat()
    tell("inventory publishes a truncated message")
    whole = await poison(addresses, tell)
    order_id = whole["order_id"]
    parked = {"consumer": "orders", "status": "parked", "since": since}
    with open_client("fanout demo", addresses) as client:

        def parked_message() -> dict[str, Any] | None:
            found = client.get("/dead-letters", parked)["dead_letters"]
            return next((dead_letter for dead_letter in found if dead_letter["key"] == order_id), None)

        tell(f"orders parks the message of order {order_id}")
        dead_letter = await _until(parked_message, f"orders has parked nothing of order {order_id}")
        began = monotonic()
        tell("it is corrected and redriven")
        correction = {"why": WHY, "correction": whole}
        number = dead_letter["dead_letter_id"]
        await asyncio.to_thread(client.decide, "redrive", number, correction)
    url = f"{addresses.apis['orders']}/orders/{order_id}"
    token = bearer(signer(addresses).operator())

    def final_status() -> str | None:
        """An order whose stock is no longer available is cancelled."""
        status = str(httpx.get(url, headers=token, trust_env=False).raise_for_status().json()["status"])
        return status if status in ("shipped", "cancelled") else None

    status = await _until(final_status, f"order {order_id} does not go on")
    milliseconds = (monotonic() - began) * 1000
    return [
        f"parked    dead letter {number}, {dead_letter['type']} of order {order_id}: {dead_letter['error_message']}",
        f"fixed     fanout dlq redrive {number} --correct whole.json --why '{WHY}'",
        f"redriven  to {dead_letter['topic']}.{dead_letter['consumer']}.retry; "
        f"{milliseconds:.0f} ms later the order is {status}",
    ]


async def _until(look: Callable[[], T | None], otherwise: str) -> T:
    deadline = monotonic() + CORRECTION_SECONDS
    while (found := await asyncio.to_thread(look)) is None:
        if monotonic() > deadline:
            raise FanoutError(f"{otherwise} after {CORRECTION_SECONDS:.0f} s: fanout lag")
        await asyncio.sleep(0.05)
    return found


_NOW = text("SELECT clock_timestamp()")
# A transaction that was committing when the process was killed still counts as before the gap.
_LONGEST_GAP = text("""
    SELECT received_at, next_received_at
    FROM (
        SELECT received_at, lead(received_at) OVER (ORDER BY received_at) AS next_received_at
        FROM inbox WHERE consumer = 'fraud'
    ) AS pairs
    WHERE next_received_at > :killed_at AND received_at < CAST(:killed_at AS timestamptz) + interval '1 s'
    ORDER BY next_received_at - received_at DESC
    LIMIT 1
""")
_PUBLISHED = text("SELECT aggregate_id, min(created_at) FROM outbox WHERE type = :type GROUP BY aggregate_id")
