"""What happened more often than once to one order, in rows that no inbox key guards."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fanout.verify.records import Facts, Published

ONCE = frozenset(
    {
        "OrderPlaced",
        "OrderConfirmed",
        "OrderCancelled",
        "PaymentProcessed",
        "PaymentRefunded",
        "StockReserved",
        "StockRejected",
        "StockReleased",
        "OrderShipped",
    }
)
"""An order has at most one event of each of these types. Of FraudAssessed it has one per version."""


@dataclass(frozen=True, slots=True)
class Double:
    """`what` is a fact of the service or a type of its events."""

    service: str
    what: str
    order_id: str
    times: int

    def __str__(self) -> str:
        return f"{self.order_id} ({self.what} {self.times} times)"


def doubled_facts(facts: Facts) -> list[Double]:
    return [
        Double(name.partition(".")[0], name.partition(".")[2], order, times)
        for name, orders in facts.items()
        for order, times in orders.items()
        if times > 1
    ]


def doubled_events(outbox: Sequence[Published]) -> list[Double]:
    """One fact published under two event ids."""
    published = Counter(
        (event.producer, event.type, event.order_id) for event in outbox if event.type in ONCE
    )
    return [Double(*what, times) for what, times in published.items() if times > 1]
