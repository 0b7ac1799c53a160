"""An open-loop client for POST /orders that takes little of the processors it shares with the system.

Each order is sent when it is due over a free connection, a new one if fewer than allowed are open, else as soon as
one becomes free. Latencies run from the moment an order was due, and from the moment it was sent: connecting counts,
a failed connect or a reset is no answer. Nothing is asked again. It runs in a process of its own (`offer`).
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import uvloop

from fanout.load import PLENTIFUL
from fanout.running import Addresses
from fanout.tokens import TokenSigner
from tests.benchmarks.whole.connections import Customers, Order

CUSTOMERS = 500
LATE_SECONDS = 1.0
IN_TIME_SECONDS = 0.05
ANSWER_SECONDS = 15.0


@dataclass
class Offered:
    """`outcomes` counts status codes, "503 without Retry-After", "reset", "not connected", "no answer", "not sent".

    Times are in milliseconds; `from_due` and `from_sent` are [p50, p99, max] of accepted orders, `answers` the same
    from sent of every answer. `late_*` count orders whose answer took longer than a second or did not come.
    """

    began: float
    offered: int
    seconds: float
    outcomes: dict[str, int]
    accepted: int
    accepted_per_second: float
    from_due: list[float]
    from_sent: list[float]
    answers: list[float]
    late_from_sent: int
    late_from_due: int
    """Only of orders that the client could send when they were due."""
    sent_late: int
    """Orders that were not sent within 50 ms, because all connections were busy or the client was."""
    cpu_seconds: float

    def __str__(self) -> str:
        outcomes = ", ".join(f"{outcome} {count}" for outcome, count in sorted(self.outcomes.items()))
        return (
            f"{self.offered} offered in {self.seconds:.1f} s: {outcomes}; accepted {self.accepted_per_second:.0f}/s; "
            f"from due p50 {self.from_due[0]:.1f} p99 {self.from_due[1]:.1f} max {self.from_due[2]:.0f} ms, "
            f"from sent {self.from_sent[0]:.1f} / {self.from_sent[1]:.1f} / {self.from_sent[2]:.0f}; "
            f"client {self.cpu_seconds:.1f} s of CPU, {self.sent_late} sent over 50 ms late"
        )


async def offer(addresses: Addresses, rate: float, count: int, connections: int, grace: float) -> Offered:
    """Offers orders in a child process. With `rate` 0 all are due at once: that many connections, always busy.

    Orders that found no free connection `grace` seconds after the last one was due are not sent any more.
    """
    address = {"url": addresses.apis["orders"], "token_key": addresses.token_key}
    settings = address | {"rate": rate, "count": count, "connections": connections, "grace": grace}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, json.dumps(settings), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert child.returncode == 0, f"the client ended with {child.returncode}"
    return Offered(**json.loads(output))


async def run(url: str, token_key: str, rate: float, count: int, connections: int, grace: float) -> Offered:
    host, port = url.removeprefix("http://").split(":")
    random = Random(1)
    token_of = TokenSigner(Path(token_key)).customer
    requests = [request(random, token_of) for _ in range(count)]
    began, start, cpu = time.time(), time.perf_counter(), time.process_time()
    orders = [Order(made, start + (number / rate if rate else 0)) for number, made in enumerate(requests)]
    customers = Customers(host, int(port), connections, orders, left=count)
    sent = 0
    while sent < count:
        now = time.perf_counter()
        while sent < count and orders[sent].due <= now:
            customers.send(orders[sent])
            sent += 1
        if sent < count:
            await asyncio.sleep(max(orders[sent].due - time.perf_counter(), 0))
    await _wait(customers, grace)
    while customers.waiting:
        customers.finish(customers.waiting.popleft(), "not sent")
    await _wait(customers, ANSWER_SECONDS)
    return _summary(orders, began, start, time.process_time() - cpu)


async def _wait(customers: Customers, seconds: float) -> None:
    try:
        await asyncio.wait_for(customers.done.wait(), seconds)
    except TimeoutError:
        return


def request(random: Random, token_of: Callable[[str], str]) -> bytes:
    body = json.dumps(
        {
            "currency": "EUR",
            "payment_method": "card",
            "card_token": "tok_visa",
            "lines": [{"product_id": random.choice(PLENTIFUL), "quantity": 1}],
        }
    ).encode()
    head = (
        "POST /orders HTTP/1.1\r\nHost: orders\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token_of(f'c{random.randrange(CUSTOMERS)}')}\r\n"
        f"Idempotency-Key: {uuid4().hex}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _summary(orders: Sequence[Order], began: float, start: float, cpu: float) -> Offered:
    end = time.perf_counter()
    accepted = [order for order in orders if order.outcome == "201"]
    answered = [order for order in orders if order.outcome[:3].isdecimal()]
    in_time = [order for order in orders if order.sent and order.sent - order.due <= IN_TIME_SECONDS]
    last = max((order.answered for order in accepted), default=end)
    return Offered(
        began=began,
        offered=len(orders),
        seconds=end - start,
        outcomes=dict(Counter(order.outcome or "no answer" for order in orders)),
        accepted=len(accepted),
        accepted_per_second=len(accepted) / (last - start),
        from_due=_spread([order.answered - order.due for order in accepted]),
        from_sent=_spread([order.answered - order.sent for order in accepted]),
        answers=_spread([order.answered - order.sent for order in answered]),
        late_from_sent=sum(_late(order, order.sent) for order in orders if order.sent),
        late_from_due=sum(_late(order, order.due) for order in in_time),
        sent_late=len(orders) - len(in_time),
        cpu_seconds=cpu,
    )


def _late(order: Order, since: float) -> bool:
    return not order.outcome[:3].isdecimal() or order.answered - since > LATE_SECONDS


def _spread(seconds: Sequence[float]) -> list[float]:
    values = sorted(seconds) or [0.0]
    return [1000 * values[max(ceil(len(values) * share) - 1, 0)] for share in (0.5, 0.99, 1.0)]


if __name__ == "__main__":
    gc.disable()
    settings: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(asdict(uvloop.run(run(**settings)))))
