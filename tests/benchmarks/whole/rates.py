"""Rows at a steady rate: how soon a POST is answered, how soon everything is settled, and what an order costs."""

from functools import partial

from tests.benchmarks.whole.accounting import accounted
from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.open_loop import Offered
from tests.benchmarks.whole.row import Figures, Row

PLACED = "SELECT aggregate_id, created_at FROM outbox WHERE type = 'OrderPlaced' AND aggregate_id >= $1"
SHIPPED = "SELECT aggregate_id, published_at FROM outbox WHERE type = 'OrderShipped' AND aggregate_id >= $1"


async def answers(rate: float, orders: int, ground: Ground) -> Figures:
    first = first_id()
    offered = await ground.post(rate, ground.scaled(orders))
    await ground.settled(first, offered.accepted)
    await ground.mailed()
    return of_answers(offered)


async def everything(rate: float, orders: int, ground: Ground) -> Figures:
    first = first_id()
    with accounted() as used:
        offered = await ground.post(rate, ground.scaled(orders))
        settled_at = await ground.settled(first, offered.accepted)
        await ground.mailed()
    ground.note(used.per_order(offered.accepted))
    lost, doubled = await ground.ledger()
    return of_answers(offered) | {
        "settled_per_second": offered.accepted / (settled_at - offered.began),
        "cpu_ms": used.total * 1000 / offered.accepted,
        "lost": lost,
        "doubled": doubled,
    }


async def low_rate(ground: Ground) -> Figures:
    first = first_id()
    figures = await everything(20, 600, ground)
    async with ground.connect("orders") as orders, ground.connect("fulfillment") as fulfillment:
        placed = dict(await orders.fetch(PLACED, first))
        shipped = dict(await fulfillment.fetch(SHIPPED, first))
    took = sorted((shipped[order_id] - placed[order_id]).total_seconds() * 1000 for order_id in placed)
    return figures | {
        "shipped_p50_ms": took[len(took) // 2],
        "shipped_p99_ms": took[int(len(took) * 0.99)],
    }


def of_answers(offered: Offered) -> Figures:
    return {
        "offered": offered.offered,
        "accepted": offered.accepted,
        "accepted_per_second": offered.accepted_per_second,
        "p50_ms": offered.from_due[0],
        "p99_ms": offered.from_due[1],
    }


ANSWERED = "{p50_ms:.1f} / {p99_ms:.1f} ms, {accepted:.0f} of {offered:.0f} accepted"
EVERYTHING = (
    "{accepted:.0f} of {offered:.0f}, {accepted_per_second:.0f}/s; {p50_ms:.1f} / {p99_ms:.1f} ms; "
    "{settled_per_second:.0f}/s; {cpu_ms:.2f} ms; lost {lost:.0f}, doubled {doubled:.0f}"
)
WHAT = "accepted; POST p50 / p99; settled a second; CPU an order"

ROWS = [
    Row("30", "30/s: POST p50 / p99", "≤ 12 / ≤ 40 ms", ANSWERED, partial(answers, 30, 600)),
    Row("100", "100/s: POST p50 / p99", "≤ 12 / ≤ 40 ms", ANSWERED, partial(answers, 100, 1_000)),
    Row(
        "20",
        "20/s: CPU an order; from the outbox row of OrderPlaced to OrderShipped in Kafka, p50 / p99",
        "≤ 35 ms; ≤ 100 / ≤ 300 ms",
        "{cpu_ms:.1f} ms; {shipped_p50_ms:.0f} / {shipped_p99_ms:.0f} ms",
        low_rate,
    ),
    Row(
        "400",
        f"400/s, 2,000 orders: {WHAT}",
        "all; ≤ 20 / ≤ 150 ms; ≥ 250; ≤ 7 ms",
        EVERYTHING,
        partial(everything, 400, 2_000),
    ),
    Row(
        "1000",
        f"1,000/s, 5,000 orders: {WHAT}",
        "≥ 950/s; p99 ≤ 300 ms; ≥ 350; ≤ 4 ms",
        EVERYTHING,
        partial(everything, 1_000, 5_000),
    ),
]
