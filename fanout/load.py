"""Places orders over REST at a steady rate and pays the invoices: for the load command, the demo and the tests."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random
from time import perf_counter
from typing import Any, Literal, TypeVar, get_args
from uuid import uuid4

from fanout.console import counted
from fanout.http_client import Client, NoAnswer, NotConnected, Response, problem_of
from fanout.running import Addresses
from fanout.tokens import bearer, signer

Kind = Literal["card", "declined_card", "invoice", "scarce"]
Outcome = Literal["ok", "refused", "failed", "unknown"]
Paid = Literal["ok", "waiting", "refused", "failed", "unknown"]
"""What became of an invoice: it is waiting while payments has not received its order, as without Kafka."""
T = TypeVar("T")
R = TypeVar("R")

PATIENCE = 30.0
PAYMENTS_AT_ONCE = 20
LOOK_SECONDS = 0.5

SHARES: dict[Kind, int] = {"card": 70, "declined_card": 10, "invoice": 15, "scarce": 5}
DECLINED = ("tok_declined", "tok_insufficient_funds")
PLENTIFUL = ("mug", "beans-1kg", "beans-250g", "filter-100", "notebook", "pencil", "espresso-machine")
SCARCE = ("limited-print", "sold-out-poster")
CUSTOMERS = 500
HOT_CUSTOMERS = 3
HOT_SHARE = 0.1
"""One order in ten comes from so few customers that their orders look like fraud."""


@dataclass(frozen=True, slots=True)
class Purchase:
    kind: Kind
    customer_id: str
    lines: tuple[tuple[str, int], ...]
    """Product and quantity."""
    card_token: str | None
    """None means payment by invoice."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One purchase. `seconds` runs from when it was due to the answer; `paid` is None unless by invoice."""

    purchase: Purchase
    state: Outcome
    seconds: float
    order_id: str | None = None
    paid: Paid | None = None
    problem: str = ""
    unknown_answers: int = 0
    """How often a request, of the order or its payment, ended without saying whether it had an effect."""


async def place_orders(
    addresses: Addresses,
    purchases: Sequence[Purchase],
    rate: float,
    *,
    patient: bool = False,
    patience: float = PATIENCE,
    watch: Callable[[Placement], None] = lambda placement: None,
    watch_invoices: Callable[[int], Coroutine[Any, Any, None]] | None = None,
) -> "LoadReport":
    """Places the purchases at `rate` per second and pays their invoices, each with its customer's token.

    An order is sent when it is due, whatever became of earlier ones; paying never holds one back. With `patient`
    requests that are refused or fail are repeated for `patience` seconds. `watch` is called for each answered order,
    `watch_invoices`, once all are answered, with the number of invoices that are not yet paid.
    """
    token_of = signer(addresses).customer
    start = perf_counter()
    paying: list[tuple[int, asyncio.Task[Answer]]] = []
    async with (
        Client(addresses.apis["orders"]) as orders,
        Client(addresses.apis["payments"], at_once=PAYMENTS_AT_ONCE) as payments,
        asyncio.TaskGroup() as group,
    ):

        async def pay(order: Mapping[str, Any], token: str) -> Answer:
            # 404 means that payments has not received the order's event yet.
            body = payment_body(order)
            return await post(payments, "/payments", body, token, patience, patient, not_yet=(404,))

        async def place(numbered: tuple[int, Purchase], due: float) -> Placement:
            number, purchase = numbered
            token = token_of(purchase.customer_id)
            answer = await post(orders, "/orders", order_body(purchase), token, patience, patient)
            assert answer.state != "waiting"  # only a status in `not_yet` is
            order_id = answer.body.get("order_id")
            seconds, unknown = perf_counter() - due, answer.unknown_answers
            placement = Placement(
                purchase, answer.state, seconds, order_id, problem=answer.problem, unknown_answers=unknown
            )
            watch(placement)
            if purchase.kind == "invoice" and answer.state == "ok":
                paying.append((number, group.create_task(pay(answer.body, token))))
            return placement

        placements = await at_rate(rate, list(enumerate(purchases)), place)
        seconds = perf_counter() - start
        unpaid = {task for _, task in paying if not task.done()}
        while unpaid and watch_invoices:
            # One whose time is up waits like the others.
            gave_up = sum(task.done() and task.result().state == "waiting" for _, task in paying)
            await watch_invoices(len(unpaid) + gave_up)
            _, unpaid = await asyncio.wait(unpaid, timeout=LOOK_SECONDS)
    for number, task in paying:
        paid = task.result()
        problem = "" if paid.state == "waiting" else paid.problem
        unknown = placements[number].unknown_answers + paid.unknown_answers
        placements[number] = replace(
            placements[number], paid=paid.state, problem=problem, unknown_answers=unknown
        )
    return LoadReport(placements, seconds)


async def at_rate(
    rate: float, items: Sequence[T], serve: Callable[[T, float], Coroutine[Any, Any, R]]
) -> list[R]:
    """Calls `serve(item, due)` for one item every 1/rate seconds, whether or not earlier calls have ended.

    Returns results in the order of the items. `due` is when the item's turn came (by `perf_counter`): a latency
    measured from there includes the time by which this process itself was late.
    """
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, item in enumerate(items):
            due = start + number / rate
            await asyncio.sleep(max(due - perf_counter(), 0))
            tasks.append(group.create_task(serve(item, due)))
    return [task.result() for task in tasks]


def order_body(purchase: Purchase) -> dict[str, Any]:
    body: dict[str, Any] = {
        "currency": "EUR",
        "lines": [{"product_id": product, "quantity": quantity} for product, quantity in purchase.lines],
    }
    if purchase.card_token is None:
        return body | {"payment_method": "invoice"}
    return body | {"payment_method": "card", "card_token": purchase.card_token}


def payment_body(order: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the payment of the whole invoice of an order, given the answer of POST /orders."""
    return {
        "order_id": order["order_id"],
        "amount_cents": order["total_cents"],
        "currency": order["currency"],
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """`refused` is a 503 with Retry-After; `failed` had no effect; `unknown` may have had one; `waiting`: not yet."""

    state: Paid
    body: Mapping[str, Any]
    problem: str = ""
    repeat: Literal["no", "if patient", "yes"] = "no"
    after: float = 0.0
    """Seconds to wait, as the server asks."""
    unknown_answers: int = 0
    """How many requests ended unknown before this answer, and with it."""


async def post(
    client: Client,
    path: str,
    body: Mapping[str, Any],
    token: str,
    patience: float,
    patient: bool,
    not_yet: Collection[int] = (),
) -> Answer:
    """Sends a POST and repeats it for `patience` seconds with the same Idempotency-Key.

    Repeats always after a status in `not_yet`, and if `patient` also after a refusal, a 5xx, a time-out or a broken
    connection. A time-out is unknown, not failed: the server may have committed.
    """
    sent, headers = json.dumps(body).encode(), bearer(token) | {"Idempotency-Key": str(uuid4())}
    deadline, unknown, pause = perf_counter() + patience, 0, 0.1
    while True:
        try:
            answer = _answer(await client.post(path, sent, headers), not_yet)
        except NotConnected as error:
            answer = Answer("failed", {}, f"not connected: {error}", "if patient")
        except NoAnswer as error:
            answer = Answer("unknown", {}, f"no answer: {error}", "if patient")
        unknown += answer.state == "unknown"
        answer = replace(answer, unknown_answers=unknown)
        if answer.repeat == "no":
            return answer
        wait = max(pause, answer.after)
        gives_up = answer.repeat == "if patient" and not patient
        if gives_up or perf_counter() + wait > deadline:
            return replace(answer, state="unknown") if unknown else answer
        await asyncio.sleep(wait)
        pause = min(pause * 2, 2.0)


def _answer(response: Response, not_yet: Collection[int]) -> Answer:
    if 200 <= response.status < 300:
        return Answer("ok", json.loads(response.body))
    problem = problem_of(response)
    if response.status in not_yet:
        return Answer("waiting", {}, problem, "yes")
    if response.status == 503 and (after := response.headers.get("retry-after")):
        # A date instead of seconds counts as one second.
        return Answer("refused", {}, problem, "if patient", float(after) if after.isdecimal() else 1.0)
    if response.status >= 500:
        return Answer("unknown", {}, problem, "if patient")
    return Answer("failed", {}, problem)


def purchases(seed: int) -> Iterator[Purchase]:
    """Yields purchases without end, the same ones for the same seed."""
    random = Random(seed)
    kinds, weights = list(SHARES), list(SHARES.values())
    while True:
        kind = random.choices(kinds, weights)[0]
        pool = HOT_CUSTOMERS if random.random() < HOT_SHARE else CUSTOMERS
        customer = f"customer-{random.randrange(pool):03}"
        yield Purchase(kind, customer, _lines(random, kind), _card(random, kind))


def _lines(random: Random, kind: Kind) -> tuple[tuple[str, int], ...]:
    if kind == "scarce":
        return ((random.choice(SCARCE), random.randint(2, 4)),)
    products = random.sample(PLENTIFUL, random.randint(1, 3))
    return tuple((product, random.randint(1, 3)) for product in products)


def _card(random: Random, kind: Kind) -> str | None:
    if kind == "invoice":
        return None
    return random.choice(DECLINED) if kind == "declined_card" else "tok_visa"


@dataclass(frozen=True, slots=True)
class LoadReport:
    """`seconds` runs until the last order was answered, whether or not its invoice was paid by then."""

    placements: Sequence[Placement]
    seconds: float

    @property
    def order_ids(self) -> list[str]:
        return [placement.order_id for placement in self.placements if placement.order_id]

    @property
    def outcomes(self) -> Counter[Outcome]:
        return Counter(placement.state for placement in self.placements)

    @property
    def payments(self) -> Counter[Paid]:
        return Counter(placement.paid for placement in self.placements if placement.paid)

    @property
    def unknown_answers(self) -> int:
        """The number of requests of which the client does not know whether they had an effect; most were repeated."""
        return sum(placement.unknown_answers for placement in self.placements)

    @property
    def complete(self) -> bool:
        """Every order was placed and every invoice paid."""
        return self.is_good and not self.waiting

    @property
    def is_good(self) -> bool:
        """Every order was placed, and every invoice paid or waiting for its order to reach payments."""
        return set(self.outcomes) <= {"ok"} and set(self.payments) <= {"ok", "waiting"}

    @property
    def waiting(self) -> int:
        """The number of invoices whose orders payments had not received when patience ended."""
        return self.payments["waiting"]

    def latency(self, share: float) -> float:
        """Returns the seconds within which this share of the accepted orders was answered; 0.99 is p99.

        It is 0 if none was.
        """
        accepted = [placement.seconds for placement in self.placements if placement.state == "ok"]
        return percentile(accepted, share)

    def lines(self) -> list[str]:
        count = len(self.placements)
        lines = [
            f"{counted(count, 'order')} in {self.seconds:.1f} s ({count / max(self.seconds, 0.001):.1f}/s): "
            + ", ".join(f"{state} {self.outcomes[state]}" for state in get_args(Outcome)),
        ]
        if self.outcomes["ok"]:
            lines.append(
                f"accepted within {self.latency(0.5) * 1000:.0f} ms (p50), {self.latency(0.99) * 1000:.0f} ms (p99)"
            )
        if self.payments:
            lines.append(
                f"invoices: {', '.join(f'{state} {n}' for state, n in sorted(self.payments.items()))}"
            )
        return lines + [f"{counted(times, 'time')} {problem}" for problem, times in self._problems()]

    def as_json(self) -> dict[str, Any]:
        return {
            "orders": {state: self.outcomes[state] for state in get_args(Outcome)},
            "invoices": {state: self.payments[state] for state in get_args(Paid)},
            "unknown_answers": self.unknown_answers,
            "seconds": round(self.seconds, 3),
            "p50_ms": self._milliseconds(0.5),
            "p99_ms": self._milliseconds(0.99),
            "complete": self.complete,
            "problems": dict(self._problems()),
        }

    def _milliseconds(self, share: float) -> float | None:
        return round(self.latency(share) * 1000, 1) if self.outcomes["ok"] else None

    def _problems(self) -> list[tuple[str, int]]:
        return Counter(placement.problem for placement in self.placements if placement.problem).most_common(3)


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the nearest rank; 0 for no values."""
    if not values:
        return 0.0
    return sorted(values)[max(ceil(share * len(values)) - 1, 0)]
