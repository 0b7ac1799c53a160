"""Who buys what and how: the same purchases for the same seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["card", "declined_card", "invoice", "scarce"]

SHARES: dict[Kind, int] = {"card": 70, "declined_card": 10, "invoice": 15, "scarce": 5}
DECLINED = ("tok_declined", "tok_insufficient_funds")
PLENTIFUL = ("mug", "beans-1kg", "beans-250g", "filter-100", "notebook", "pencil", "espresso-machine")
SCARCE = ("limited-print", "sold-out-poster")
CUSTOMERS = 500
HOT_CUSTOMERS = 3
HOT_SHARE = 0.1
"""One order in ten comes from so few customers that fraud takes notice."""


@dataclass(frozen=True, slots=True)
class Purchase:
    kind: Kind
    customer_id: str
    lines: tuple[tuple[str, int], ...]
    """Product and quantity."""
    card_token: str | None
    """None means that an invoice is asked for."""


def purchases(seed: int) -> Iterator[Purchase]:
    """Without end."""
    random = Random(seed)
    kinds, weights = list(SHARES), list(SHARES.values())
    while True:
        kind = random.choices(kinds, weights)[0]
        yield Purchase(kind, _customer(random), _lines(random, kind), _card(random, kind))


def _customer(random: Random) -> str:
    pool = HOT_CUSTOMERS if random.random() < HOT_SHARE else CUSTOMERS
    return f"customer-{random.randrange(pool):03}"


def _lines(random: Random, kind: Kind) -> tuple[tuple[str, int], ...]:
    if kind == "scarce":
        return ((random.choice(SCARCE), random.randint(2, 4)),)
    products = random.sample(PLENTIFUL, random.randint(1, 3))
    return tuple((product, random.randint(1, 3)) for product in products)


def _card(random: Random, kind: Kind) -> str | None:
    if kind == "invoice":
        return None
    return random.choice(DECLINED) if kind == "declined_card" else "tok_visa"
