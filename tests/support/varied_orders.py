"""Adds orders to a simulated system whose events arrived late, corrected or out of order."""

from dataclasses import replace

from services.orders.models import NewOrder
from tests.support import sample_events
from tests.support.simulated_parking import park, redrive
from tests.support.simulated_system import SimulatedSystem, event_of

HALF_A_MESSAGE = "UPDATE outbox SET payload = substr(payload, 1, length(payload) / 2) WHERE id = {}"


async def add_varied_orders(simulated: SimulatedSystem) -> dict[str, str]:
    """Returns the orders by what happened to them. All their events are delivered in the end."""
    orders = {
        "invoice_cancelled": await simulated.order(card=None),
        "unknown_card": await simulated.order(card="tok_unknown"),
        "two_lines": await _two_lines(simulated),
    }
    await simulated.deliver()
    await simulated.cancel(orders["invoice_cancelled"])
    await simulated.deliver()
    orders["void"] = await _cancelled_before_it_arrived(simulated)
    orders["late"] = await _suspicious_by_a_late_order(simulated)
    orders["corrected"] = await _corrected(simulated)
    orders["poisoned"] = await _poisoned(simulated)
    return orders


async def _two_lines(simulated: SimulatedSystem) -> str:
    lines = [{"product_id": "mug", "quantity": 2}, {"product_id": "espresso-machine", "quantity": 1}]
    new = NewOrder(currency="EUR", payment_method="card", card_token="tok_visa", lines=lines)
    return await sample_events.place_order(simulated.databases["orders"], new, "customer-of-two")


async def _cancelled_before_it_arrived(simulated: SimulatedSystem) -> str:
    """Three services receive the cancellation first, as the order was parked there, and the order afterwards."""
    order = await simulated.order()
    await simulated.cancel(order)
    parked = [
        await park(simulated, consumer, "orders", "OrderPlaced", order)
        for consumer in ("payments", "inventory", "fulfillment")
    ]
    await simulated.deliver()
    for each in parked:
        await redrive(simulated, each)
    await simulated.deliver()
    return order


async def _suspicious_by_a_late_order(simulated: SimulatedSystem) -> str:
    """The first of six orders of a customer reaches fraud last, and makes the sixth suspicious."""
    one_mug = [{"product_id": "mug", "quantity": 1}]
    new = NewOrder(currency="EUR", payment_method="card", card_token="tok_visa", lines=one_mug)
    place = sample_events.place_order
    placed = [await place(simulated.databases["orders"], new, "customer-in-haste") for _ in range(6)]
    first = await park(simulated, "fraud", "orders", "OrderPlaced", placed[0])
    await simulated.deliver()
    await redrive(simulated, first)
    await simulated.deliver()
    return placed[-1]


async def _corrected(simulated: SimulatedSystem) -> str:
    """An operator corrects what fraud and notifications are told of an order."""
    order = await simulated.order()
    parked = [
        await park(simulated, consumer, "orders", "OrderPlaced", order)
        for consumer in ("fraud", "notifications")
    ]
    await simulated.deliver()
    for each in parked:
        await redrive(simulated, each, replace(event_of(each.row), total_cents=600_00))  # type: ignore[call-arg]
    await simulated.deliver()
    return order


async def _poisoned(simulated: SimulatedSystem) -> str:
    """Half of a message is published, parked by its only consumer, and redriven whole."""
    order = await simulated.order()
    await simulated.collect("orders")
    parked = await park(simulated, "orders", "inventory", "StockReserved", order)
    await simulated.run("inventory", HALF_A_MESSAGE.format(parked.row.id))
    whole = event_of(parked.row)
    await simulated.run(
        "inventory",
        f"UPDATE outbox SET published_at = now(), kafka_partition = 0, kafka_offset = {parked.offset} "
        f"WHERE id = {parked.row.id}",
    )
    simulated.offsets[parked.topic] += 1
    await simulated.run(
        "orders",
        f"UPDATE consumer_offsets SET next_offset = next_offset + 1, received = received + 1, applied = applied + 1 "
        f"WHERE topic = '{parked.topic}'",
    )
    await redrive(simulated, parked, whole)
    await simulated.deliver()
    return order
