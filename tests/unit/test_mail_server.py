"""The mail server of the local stack, spoken to over its port."""

import asyncio
import smtplib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fanout.commands.mailbox import arrivals
from fanout.local import smtp_server
from fanout.local.ports import HOST
from tests.support.stack import free_base

CONTENT = "To: c@customers.example\r\nMessage-ID: <{}@x>\r\nX-Order-ID: o\r\n\r\n{}\r\n"
ENVELOPE = "MAIL FROM:<a@x>\r\nRCPT TO:<c@customers.example>\r\nDATA\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mail"


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[smtplib.SMTP]:
    """A session with the server."""
    port = free_base()
    serving = asyncio.create_task(smtp_server.serve(HOST, port, folder))
    connected = await asyncio.to_thread(connect, port)
    yield connected
    await asyncio.to_thread(connected.close)
    serving.cancel()
    await asyncio.wait({serving})


def connect(port: int) -> smtplib.SMTP:
    deadline = time.monotonic() + 10
    while True:
        try:
            return smtplib.SMTP(HOST, port, local_hostname="test", timeout=10)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


async def test_commands_that_come_together_are_answered_in_order(client: smtplib.SMTP, folder: Path) -> None:
    def talk() -> list[int]:
        client.ehlo()
        assert client.has_extn("pipelining")
        client.send(ENVELOPE)
        codes = [client.getreply()[0] for _ in range(3)]
        client.send(CONTENT.format(1, "..dots") + ".\r\n" + ENVELOPE)
        codes += [client.getreply()[0] for _ in range(4)]
        client.send(CONTENT.format(2, "body") + ".\r\nNOOP\r\nQUIT\r\n")
        return codes + [client.getreply()[0] for _ in range(3)]

    assert await asyncio.to_thread(talk) == [250, 250, 354, 250, 250, 250, 354, 250, 250, 221]
    assert [mail.message_id for mail in arrivals(folder)] == ["<1@x>", "<2@x>"]
    first = min((folder / "new").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert first.read_bytes() == CONTENT.format(1, ".dots").encode()


async def test_a_client_that_waits_for_every_answer_gets_every_answer(
    client: smtplib.SMTP, folder: Path
) -> None:
    def talk() -> tuple[int, bytes]:
        for number in range(3):
            client.sendmail("a@x", ["c@customers.example"], CONTENT.format(number, "body"))
        return client.quit()

    assert (await asyncio.to_thread(talk))[0] == 221
    assert len(arrivals(folder)) == 3
    assert not list((folder / "tmp").iterdir())


@pytest.mark.parametrize(
    ("recipient", "code"),
    [("<c@customers.example>", 250), ('<"a, b"@customers.example>', 250), ("<c@x> SIZE=1", 555), ("", 501)],
)
async def test_odd_addresses_are_read_as_aiosmtpd_reads_them(
    client: smtplib.SMTP, recipient: str, code: int
) -> None:
    def talk() -> int:
        client.ehlo()
        client.docmd("MAIL FROM:<a@x>")
        return client.docmd(f"RCPT TO:{recipient}")[0]

    assert await asyncio.to_thread(talk) == code


async def test_a_delay_is_noticed_while_the_server_runs(client: smtplib.SMTP, folder: Path) -> None:
    def seconds() -> float:
        began = time.monotonic()
        client.sendmail("a@x", ["c@customers.example"], CONTENT.format(1, "body"))
        return time.monotonic() - began

    await asyncio.to_thread(seconds)
    folder.with_name(smtp_server.DELAY_FILE).write_text("300\n")
    async with asyncio.timeout(10):
        while await asyncio.to_thread(seconds) < 0.3:
            pass
