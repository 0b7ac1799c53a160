"""Figures of the business for the exporter: orders, money, orders settled in time, dead letters, redrives.

Counters only grow while the exporter lives, whatever retention deletes from the tables. Those of orders count from the
exporter's start. What has to scan a table is counted every `SCAN_SECONDS`.
"""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fanout.lag.services import ServiceDatabases

ORDERS, DEAD_LETTERS = "orders", "dead_letters"
SETTLED_SECONDS = 30
"""The goal of the SLO; longer than any transaction of a service takes, so nothing is missed that commits late."""
SCAN_SECONDS = 15.0
EARLIER = 1_000
"""Outbox rows that are older may have ids that are higher by a few."""

DeadLetterKey = tuple[str, str, str, str]
"""Consumer, topic, reason, status."""


@dataclass
class OrderFigures:
    """`settled` of `judged` orders were confirmed or cancelled within `SETTLED_SECONDS` of being placed."""

    judged: int = 0
    settled: int = 0
    revenue_cents: Counter[str] = field(default_factory=Counter)
    """Of confirmed orders, by currency."""
    by_status: Mapping[str, int] = field(default_factory=dict)
    oldest_unsettled_seconds: float = 0.0


class Orders:
    """Judges each order that is paid by card once, `SETTLED_SECONDS` after it was placed, decided or not.

    An order to be invoiced is left out: it waits for its customer's payment. When an order was decided is the time of
    the outbox row that says so; `orders.decided_at` is that of the event that led to it. Revenue has the same delay.
    """

    def __init__(self, databases: ServiceDatabases) -> None:
        self._databases = databases
        self._found = OrderFigures()
        self._until: datetime | None = None
        self._from_id = 0
        self._scanned_at = -SCAN_SECONDS

    async def figures(self) -> OrderFigures:
        """Raises Unreachable, or FanoutError if the database refuses."""
        if self._until is None:
            [start] = await self._databases.rows(ORDERS, START)
            self._until, self._from_id = start["until"], start["from_id"]
        [now] = await self._databases.rows(ORDERS, JUDGE, self._until)
        revenue = await self._databases.rows(
            ORDERS, REVENUE, self._from_id - EARLIER, self._until, now["until"]
        )
        self._until = now["until"]
        self._found.judged += now["judged"]
        self._found.settled += now["settled"]
        self._found.oldest_unsettled_seconds = now["oldest_unsettled_seconds"] or 0.0
        for row in revenue:
            self._found.revenue_cents[row["currency"]] += int(row["cents"])
            self._from_id = max(self._from_id, row["last_id"])
        if time.monotonic() - self._scanned_at >= SCAN_SECONDS:
            rows = await self._databases.rows(ORDERS, BY_STATUS)
            self._found.by_status = {row["status"]: row["orders"] for row in rows}
            self._scanned_at = time.monotonic()
        return self._found


@dataclass
class DeadLetterFigures:
    dead_letters: Mapping[DeadLetterKey, int] = field(default_factory=dict)
    redrives: Counter[str] = field(default_factory=Counter)
    """By consumer."""


class DeadLetters:
    def __init__(self, databases: ServiceDatabases) -> None:
        self._databases = databases
        self._found = DeadLetterFigures()
        self._redrives_before: Mapping[str, int] = {}
        self._scanned_at = -SCAN_SECONDS

    async def figures(self) -> DeadLetterFigures:
        """Raises Unreachable, or FanoutError if the database refuses."""
        if time.monotonic() - self._scanned_at >= SCAN_SECONDS:
            rows = await self._databases.rows(DEAD_LETTERS, LETTERS)
            self._found.dead_letters = {
                (row["consumer"], row["topic"], row["failure"], row["status"]): row["letters"] for row in rows
            }
            redrives = {
                row["consumer"]: row["redrives"] for row in await self._databases.rows(DEAD_LETTERS, REDRIVES)
            }
            for consumer, number in redrives.items():
                self._found.redrives[consumer] += max(number - self._redrives_before.get(consumer, 0), 0)
            self._redrives_before = redrives
            self._scanned_at = time.monotonic()
        return self._found


UNTIL = f"date_trunc('milliseconds', clock_timestamp()) - interval '{SETTLED_SECONDS} s'"
START = f"SELECT {UNTIL} AS until, coalesce((SELECT max(id) FROM outbox), 0) AS from_id"
# Ids of orders are UUIDv7, so that those of the last minutes are found by the primary key.
JUDGE = f"""
    WITH span AS MATERIALIZED (SELECT $1::timestamptz AS since, {UNTIL} AS until),
    due AS (
        SELECT order_id, placed_at FROM orders, span
        WHERE order_id >= regexp_replace(
                lpad(to_hex((extract(epoch FROM since) * 1000)::bigint - 60000), 12, '0'), '^.{{8}}', '\\&-')
            AND placed_at > since AND placed_at <= until AND payment_method = 'card'
    )
    SELECT span.until,
        (SELECT count(*) FROM due) AS judged,
        (SELECT count(*) FROM due WHERE EXISTS (
            SELECT FROM outbox WHERE outbox.aggregate_id = due.order_id AND outbox.topic = 'orders'
                AND outbox.type IN ('OrderConfirmed', 'OrderCancelled')
                AND outbox.created_at <= due.placed_at + interval '{SETTLED_SECONDS} s')) AS settled,
        (SELECT extract(epoch FROM clock_timestamp() - placed_at)::float FROM orders
            WHERE status = 'placed' AND payment_method = 'card' ORDER BY order_id LIMIT 1) AS oldest_unsettled_seconds
    FROM span
"""
REVENUE = """
    SELECT currency, sum(total_cents) AS cents, max(outbox.id) AS last_id
    FROM outbox JOIN orders ON orders.order_id = outbox.aggregate_id
    WHERE outbox.id > $1 AND outbox.topic = 'orders' AND outbox.type = 'OrderConfirmed'
        AND outbox.created_at > $2 AND outbox.created_at <= $3
    GROUP BY currency
"""
BY_STATUS = "SELECT status, count(*) AS orders FROM orders GROUP BY status"
LETTERS = """
    SELECT consumer, topic, failure, status, count(*) AS letters FROM dead_letters
    GROUP BY consumer, topic, failure, status
"""
REDRIVES = """
    SELECT consumer, count(*) AS redrives FROM actions JOIN dead_letters USING (dead_letter_id)
    WHERE what = 'redriven' GROUP BY consumer
"""
