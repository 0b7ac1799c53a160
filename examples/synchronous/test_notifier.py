"""The notifier, on a real SMTP server that takes mail or is gone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from fanout.compare.child import web_app
from tests.support.smtp_inbox import SmtpInbox

PAYMENT = {
    "payment_id": "p1",
    "order_id": "o1",
    "customer_id": "ada",
    "amount_cents": 1250,
    "currency": "EUR",
}


@asynccontextmanager
async def notifier(smtp: str, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Runs the notifier, and yields a client of it."""
    with web_app("examples.synchronous.notifier:app", {"SMTP": smtp}, folder) as url:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            yield client


async def test_each_payment_is_a_mail_and_a_repeated_one_has_the_same_id(tmp_path: Path) -> None:
    inbox = SmtpInbox()
    async with inbox.listening(), notifier(inbox.address, tmp_path) as client:
        for _ in range(2):
            assert (await client.post("/payments", json=PAYMENT)).status_code == 204
    first, second = inbox.taken
    assert first["To"] == "ada@customers.example" and first["X-Order-ID"] == "o1"
    assert "12.50 EUR for order o1" in first.get_content()
    assert first["Message-ID"] == second["Message-ID"] == "<p1@notifier.synchronous.example>"


async def test_a_session_is_kept_and_one_that_the_server_has_ended_is_opened_anew(tmp_path: Path) -> None:
    inbox = SmtpInbox()
    async with inbox.listening(), notifier(inbox.address, tmp_path) as client:
        for _ in range(5):
            assert (await client.post("/payments", json=PAYMENT)).status_code == 204
        assert len(inbox.connections) == 1
        inbox.hang_up()
        assert (await client.post("/payments", json=PAYMENT)).status_code == 204
    assert len(inbox.connections) == 2 and len(inbox.taken) == 6


async def test_without_a_mail_server_it_answers_503_and_says_why(tmp_path: Path) -> None:
    async with notifier("127.0.0.1:9", tmp_path) as client:
        answer = await client.post("/payments", json=PAYMENT)
    assert answer.status_code == 503 and "mail server" in answer.text


async def test_a_mail_that_is_refused_is_an_error_too(tmp_path: Path) -> None:
    inbox = SmtpInbox()
    inbox.answers["ada"] = "550 unknown"
    async with inbox.listening(), notifier(inbox.address, tmp_path) as client:
        assert (await client.post("/payments", json=PAYMENT)).status_code == 503
