"""What the judge has read of the system: the records of all topics and the rows of all databases."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

Row = Mapping[str, Any]
Tables = Mapping[str, Mapping[str, Sequence[Row]]]
"""Service -> table -> its rows; each service's tables are of one snapshot."""

LISTENERS = {
    "OrderPlaced": ("payments", "inventory", "fraud", "fulfillment", "notifications", "analytics"),
    "OrderConfirmed": ("fulfillment", "analytics"),
    "OrderCancelled": ("payments", "inventory", "fulfillment", "notifications", "analytics"),
    "PaymentProcessed": ("orders", "notifications", "analytics"),
    "PaymentRefunded": (),
    "StockReserved": ("orders",),
    "StockRejected": ("orders",),
    "StockReleased": (),
    "FraudAssessed": ("orders",),
    "OrderShipped": ("orders", "notifications", "analytics"),
}
"""Who must receive each type of event. Written down here, since a judge does not ask the consumers."""

TOPICS = {
    "orders": "orders",
    "payments": "payments",
    "inventory": "inventory",
    "fraud": "fraud",
    "shipments": "fulfillment",
}
"""Topic -> the service whose facts it has."""


class Fact(NamedTuple):
    """An event: in Kafka, or a row of an outbox that has no offset yet."""

    event_id: UUID
    topic: str
    type: str
    order_id: str
    version: int | None
    partition: int | None = None
    offset: int | None = None
    sent_at: datetime | None = None


@dataclass(frozen=True)
class Log:
    """What Kafka holds. `committed` are the offsets of the groups; they were read before the databases."""

    at: datetime
    """When it was read."""
    facts: Sequence[Fact]
    spans: Mapping[tuple[str, int], tuple[int, int]]
    """(topic, partition) -> the offsets of its first record and after its last one."""
    committed: Mapping[tuple[str, str, int], int]
    """(group, topic, partition) -> next offset."""
    dead_letters: Sequence[tuple[str, str, int, int]] = ()
    """(consumer, topic, partition, offset) of the record that each record of a dead-letter topic is about."""
    strangers: int = 0
    """Records of event topics that are no event of ours, such as poison."""


@dataclass(frozen=True)
class Evidence:
    """Kafka's log, and all databases read twice after it: `before` and `tables`.

    What a consumer has received is taken from `before`, and what was published from `tables`: so nothing that a running
    system does meanwhile looks like an effect without a fact. An order that changed between the two is not compared
    across services.
    """

    log: Log
    before: Tables
    tables: Tables

    def rows(self, service: str, table: str) -> Sequence[Row]:
        return self.tables[service][table]

    def moving_orders(self) -> set[str]:
        """Returns the orders of which a row differs between the two readings of the databases."""
        moving: set[str] = set()
        for service, tables in self.tables.items():
            for table, rows in tables.items():
                earlier, later = (
                    Counter(map(_of_order, each)) for each in (self.before[service][table], rows)
                )
                moving |= {order for order, _ in (earlier - later) + (later - earlier)}
        return moving


def _of_order(row: Row) -> tuple[str, str]:
    return str(row.get("order_id") or row.get("aggregate_id") or ""), repr(sorted(row.items()))


@dataclass
class Findings:
    """`wrong` can not be mended by waiting; `waiting` can, or is for an operator to decide."""

    wrong: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    open_orders: set[str] = field(default_factory=set)
    """Orders with a delivery that is still to come, or that was parked."""
