"""Orders are placed open-loop: nothing that happens to one of them, or to an invoice, holds back the next."""

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from fanout.commands.load import waiting_line
from fanout.load import PATIENCE, LoadReport, Placement, Purchase, place_orders
from tests.support.principals import addresses_of, principal_of
from tests.support.scripted_api import Reply, Request, scripted_api

INVOICE = Purchase("invoice", "customer-001", (("mug", 1),), None)
CARD = Purchase("card", "customer-001", (("mug", 1),), "tok_visa")
UNKNOWN_YET = Reply(404, {"title": "unknown order"})
WAITING_INVOICES = 200


def accepted(numbers: "count[int]") -> Reply:
    return Reply(201, {"order_id": f"o{next(numbers)}", "total_cents": 100, "currency": "EUR"})


async def placed(
    purchases: list[Purchase],
    orders: Callable[[Request], Reply],
    payments: Callable[[Request], Reply],
    patient: bool = False,
    watch: Callable[[Placement], None] = lambda placement: None,
    patience: float = PATIENCE,
    watch_invoices: Callable[[int], Coroutine[Any, Any, None]] | None = None,
    rate: float = 1_000,
) -> LoadReport:
    async def answer_orders(request: Request) -> Reply:
        return orders(request)

    async def answer_payments(request: Request) -> Reply:
        return payments(request)

    async with scripted_api(answer_orders) as orders_url, scripted_api(answer_payments) as payments_url:
        system = addresses_of({"orders": orders_url, "payments": payments_url})
        return await place_orders(
            system,
            purchases,
            rate,
            patient=patient,
            patience=patience,
            watch=watch,
            watch_invoices=watch_invoices,
        )


async def test_an_order_is_not_held_back_while_200_invoices_wait() -> None:
    numbers, last_was_placed = count(), asyncio.Event()

    def take(request: Request) -> Reply:
        if request.body["payment_method"] == "card":
            last_was_placed.set()
        return accepted(numbers)

    def not_known_before_the_last_order(request: Request) -> Reply:
        return Reply(201, {}) if last_was_placed.is_set() else UNKNOWN_YET

    report = await asyncio.wait_for(
        placed([INVOICE] * WAITING_INVOICES + [CARD], take, not_known_before_the_last_order), 20
    )
    assert report.complete
    assert report.payments == {"ok": WAITING_INVOICES}


async def test_an_order_is_not_held_back_while_300_orders_have_no_answer() -> None:
    numbers, last_was_sent = count(), asyncio.Event()

    async def answer_when_all_are_there(request: Request) -> Reply:
        if principal_of(request.headers).subject == "last":
            last_was_sent.set()
        await last_was_sent.wait()
        return accepted(numbers)

    last = Purchase("card", "last", (("mug", 1),), "tok_visa")
    async with scripted_api(answer_when_all_are_there) as url:
        system = addresses_of({"orders": url, "payments": url})
        report = await place_orders(system, [CARD] * 300 + [last], 1_000)
    assert report.outcomes == {"ok": 301}


@pytest.mark.parametrize(("patient", "outcomes"), [(False, {"ok": 2, "refused": 1}), (True, {"ok": 3})])
async def test_a_refused_order_is_placed_only_by_a_patient_customer(
    patient: bool, outcomes: dict[str, int]
) -> None:
    numbers, refused_keys, keys = count(), set[str](), list[str]()

    def refuse_the_first(request: Request) -> Reply:
        keys.append(request.headers["idempotency-key"])
        if not refused_keys:
            refused_keys.add(keys[-1])
            return Reply(503, {"title": "busy"}, {"Retry-After": "1"})
        return accepted(numbers)

    report = await placed([CARD] * 3, refuse_the_first, lambda _: UNKNOWN_YET, patient)
    assert report.outcomes == outcomes
    assert report.complete is patient
    assert keys.count(*refused_keys) == (2 if patient else 1)


async def test_an_order_is_told_of_before_its_invoice_is_paid() -> None:
    numbers, watched = count(), list[Placement]()

    def pay_when_watched(request: Request) -> Reply:
        return Reply(201, {}) if watched else UNKNOWN_YET

    report = await placed([INVOICE], lambda _: accepted(numbers), pay_when_watched, watch=watched.append)
    assert [placement.paid for placement in watched] == [None]
    assert [placement.paid for placement in report.placements] == ["ok"]


async def test_an_invoice_whose_order_has_not_arrived_waits_and_fails_nothing() -> None:
    """As without Kafka: the order is accepted, and its payment does not exist yet."""
    numbers, watched = count(), list[int]()

    async def watch_invoices(number: int) -> None:
        watched.append(number)

    report = await placed(
        [INVOICE, CARD, INVOICE],
        lambda _: accepted(numbers),
        lambda _: UNKNOWN_YET,
        patience=0.4,
        watch_invoices=watch_invoices,
    )

    assert (report.outcomes, report.payments) == ({"ok": 3}, {"waiting": 2})
    assert report.is_good and not report.complete
    assert "404" not in "".join(report.lines()) and report.as_json()["problems"] == {}
    assert watched[0] == 2


async def test_an_invoice_whose_time_is_up_is_still_counted_as_waiting() -> None:
    """They give up one after the other, in the order in which theirs were placed."""
    numbers, watched = count(), list[int]()

    async def watch_invoices(number: int) -> None:
        watched.append(number)

    report = await placed(
        [INVOICE] * 4,
        lambda _: accepted(numbers),
        lambda _: UNKNOWN_YET,
        rate=3,
        patience=0.9,
        watch_invoices=watch_invoices,
    )

    assert len(watched) > 1 and {*watched, report.waiting} == {4}


async def test_an_invoice_that_is_refused_is_not_one_that_waits() -> None:
    numbers = count()
    conflict = Reply(409, {"title": "nothing to pay"})

    report = await placed([INVOICE], lambda _: accepted(numbers), lambda _: conflict)

    assert report.payments == {"failed": 1} and not report.is_good


@pytest.mark.parametrize(
    ("count", "kafka_answers", "sentence"),
    [
        (1, False, "1 invoice waits for Kafka: the order is accepted, and can be paid when it is back"),
        (9, False, "9 invoices wait for Kafka: the orders are accepted, and can be paid when it is back"),
        (9, True, "9 invoices wait for payments: the orders are accepted, and can be paid when payments has"),
    ],
)
def test_the_tool_says_what_invoices_wait_for(count: int, kafka_answers: bool, sentence: str) -> None:
    assert waiting_line(count, kafka_answers).startswith(sentence)
