"""Pays each invoice twice, with the synchronous service and with ours, one right after the other, and times both."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter, time
from typing import Any, Self
from uuid import uuid4

from fanout.compare.mails import Mails
from fanout.compare.prepare import CUSTOMER, Invoice
from fanout.compare.samples import SIDES, Sample, Side
from fanout.console import counted
from fanout.http_client import Client, NoAnswer, NotConnected, problem_of
from fanout.running import Addresses
from fanout.tokens import bearer, signer

ANSWER_SECONDS = 30.0
EFFECT_SECONDS = 60.0
"""How long to wait for mails after the last payment; what has not come by then counts as not sent."""
POLL_SECONDS = 0.05


@dataclass
class Payer:
    """Sends payments to either side over connections that stay open, as clients of a busy shop do."""

    clients: Mapping[Side, Client]
    token: dict[str, str]

    @classmethod
    @asynccontextmanager
    async def of(cls, addresses: Addresses, synchronous_url: str) -> AsyncIterator[Self]:
        async with (
            Client(synchronous_url, ANSWER_SECONDS) as synchronous,
            Client(addresses.apis["payments"], ANSWER_SECONDS) as events,
        ):
            token = bearer(signer(addresses).customer(CUSTOMER))
            yield cls({"synchronous": synchronous, "events": events}, token)

    async def pay_all(
        self, invoices: Sequence[Invoice], interval: float, tell: Callable[[int], None]
    ) -> dict[Side, list[Sample]]:
        """Pays an invoice every `interval` seconds; the sides take turns in going first.

        The second side is asked half an interval after the first, so that both find the system equally idle, whatever
        the first one's answer took. Nobody is asked before the last answer has come.
        """
        samples: dict[Side, list[Sample]] = {side: [] for side in SIDES}
        start = perf_counter()
        for number, invoice in enumerate(invoices):
            tell(number)
            for half, side in enumerate(SIDES if number % 2 else reversed(SIDES)):
                due = start + (number + half / 2) * interval
                await asyncio.sleep(max(due - perf_counter(), 0))
                samples[side].append(await self.pay(side, invoice))
        return samples

    async def pay(self, side: Side, invoice: Invoice) -> Sample:
        body, headers = self._request(side, invoice)
        asked_at, began = time(), perf_counter()
        problem = await _problem(self.clients[side], body, headers)
        seconds = perf_counter() - began
        return Sample(invoice.order_id, asked_at, seconds, not problem, problem)

    def _request(self, side: Side, invoice: Invoice) -> tuple[bytes, dict[str, str]]:
        """The synchronous service has no tokens: its customer is named in the body."""
        body: dict[str, Any] = invoice.body
        if side == "synchronous":
            return json.dumps(body | {"customer_id": CUSTOMER}).encode(), {}
        return json.dumps(body).encode(), self.token | {"Idempotency-Key": str(uuid4())}


async def until_mailed(mails: Mails, ours: Sequence[Sample], tell: Callable[[str], None]) -> None:
    """Waits for the mail about each payment that our side accepted, EFFECT_SECONDS at most.

    What the synchronous side has mailed is there already: it answered after that.
    """
    deadline = monotonic() + EFFECT_SECONDS
    while True:
        mails.look()
        waiting = sum(each.is_accepted and each.order_id not in mails.paid["events"] for each in ours)
        if not waiting or monotonic() > deadline:
            return
        tell(f"waiting for {counted(waiting, 'mail')}")
        await asyncio.sleep(POLL_SECONDS)


async def _problem(client: Client, body: bytes, headers: Mapping[str, str]) -> str:
    """Returns why a payment was not accepted, "" if it was."""
    try:
        answer = await client.post("/payments", body, headers)
    except (NotConnected, NoAnswer) as error:
        return f"no answer: {error}"
    if 200 <= answer.status < 300:
        return ""
    return problem_of(answer)
