"""One message is cut in half by a bug: found among the dead letters, mended, sent back, and its order ships."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

import httpx

from fanout.commands.poison import poison
from fanout.dlq.client import Client, open_client
from fanout.errors import FanoutError
from fanout.running import Addresses

PATIENCE_SECONDS = 30.0
WHY = "it was cut in half by a bug"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mended:
    letter: Mapping[str, Any]
    order_id: str
    status: str
    seconds: float

    def lines(self) -> list[str]:
        letter = self.letter
        number, of = letter["dead_letter_id"], f"{letter['type']} of order {self.order_id}"
        return [
            f"parked    letter {number}, {of}: {letter['error_message']}",
            f"fixed     fanout dlq redrive {number} --correct whole.json --why '{WHY}'",
            f"redriven  to {letter['topic']}.{letter['consumer']}.retry; "
            f"{self.seconds * 1000:.0f} ms later the order is {self.status}",
        ]


async def mend_one(addresses: Addresses) -> Mended:
    """Does to itself what `fanout poison` does, and then what an operator would."""
    since = datetime.now(UTC).isoformat()
    whole = await poison(addresses)
    order_id = whole["order_id"]
    with open_client() as client:
        nothing = f"orders has parked nothing of order {order_id}"
        letter = await _until(lambda: _letter(client, since, order_id), nothing)
        began = monotonic()
        signed = {"who": "fanout demo", "why": WHY, "correction": whole}
        await asyncio.to_thread(client.post, f"/dead-letters/{letter['dead_letter_id']}/redrive", signed)
    url = f"{addresses.apis['orders']}/orders/{order_id}"
    status = await _until(lambda: _final_status(url), f"order {order_id} does not go on")
    return Mended(letter, order_id, status, monotonic() - began)


def _letter(client: Client, since: str, order_id: str) -> dict[str, Any] | None:
    parked = client.get("/dead-letters", {"consumer": "orders", "status": "parked", "since": since})
    return next((letter for letter in parked["dead_letters"] if letter["key"] == order_id), None)


def _final_status(url: str) -> str | None:
    """Stock that cannot be had any more ends an order too."""
    status = str(httpx.get(url, trust_env=False).raise_for_status().json()["status"])
    return status if status in ("shipped", "cancelled") else None


async def _until(look: Callable[[], T | None], otherwise: str) -> T:
    deadline = monotonic() + PATIENCE_SECONDS
    while (found := await asyncio.to_thread(look)) is None:
        if monotonic() > deadline:
            raise FanoutError(f"{otherwise} after {PATIENCE_SECONDS:.0f} s: fanout lag")
        await asyncio.sleep(0.05)
    return found
