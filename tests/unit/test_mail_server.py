"""The mail server of the local stack, spoken to over its port."""

import asyncio
import smtplib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fanout.commands.mailbox import arrivals
from fanout.local import smtp_server
from fanout.local.mail_fault import FILE, MailState, current_fault, mail_fault
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
    await until_it_takes(client, 0, 0.25)
    folder.with_name(smtp_server.DELAY_FILE).write_text("300\n")
    await until_it_takes(client, 0.3, 10)


async def test_a_fault_hides_the_delay_and_ends_with_its_block(client: smtplib.SMTP, folder: Path) -> None:
    folder.with_name(smtp_server.DELAY_FILE).write_text("300\n")
    await until_it_takes(client, 0.3, 10)
    with mail_fault(folder.with_name(FILE), MailState(0.0)):
        await until_it_takes(client, 0, 0.25)
    await until_it_takes(client, 0.3, 10)


async def test_a_fault_that_nobody_renews_ends_by_itself(folder: Path) -> None:
    """As after a SIGKILL of the process that caused it."""
    file = folder.with_name(FILE)
    file.write_text(f"stopped {time.time() + 60}\n")
    assert current_fault(file) == MailState(None)
    file.write_text(f"stopped {time.time() - 0.001}\n")
    assert current_fault(file) is None


@pytest.mark.parametrize("text", ["", "750", "750 soon", "x 9999999999", "stopped\n"])
def test_a_damaged_fault_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert current_fault(tmp_path / FILE) is None


@pytest.fixture
def address(folder: Path) -> Iterator[tuple[str, int]]:
    """The server as a process of its own, on the event loop that it uses there."""
    where = HOST, free_base()
    command = [sys.executable, "-m", "fanout.local.smtp_server", where[0], str(where[1]), str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    yield where
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert not errors


def test_a_server_that_is_stopped_ends_old_sessions_and_begins_no_new_one(
    address: tuple[str, int], folder: Path
) -> None:
    old = connect(address[1])
    old.ehlo()
    with mail_fault(folder.with_name(FILE), MailState(None)):
        answers(old, smtp_server.CLOSING)
        began = time.monotonic()
        with pytest.raises(OSError):
            smtplib.SMTP(*address, local_hostname="test", timeout=10).ehlo()
        assert time.monotonic() - began < 5, "the session was kept waiting"
        assert old.mail("a@x")[0] == 421
    answers(old, "250")
    new = connect(address[1])
    assert new.noop()[0] == 250
    for session in (old, new):
        session.close()


def answers(session: smtplib.SMTP, reply: str) -> None:
    """Asks until the answer begins with the code of this reply."""
    deadline = time.monotonic() + 10
    while session.noop()[0] != int(reply.split()[0]):
        assert time.monotonic() < deadline


async def until_it_takes(client: smtplib.SMTP, least: float, most: float) -> None:
    """Sends mails until one takes so many seconds."""

    def seconds() -> float:
        began = time.monotonic()
        client.sendmail("a@x", ["c@customers.example"], CONTENT.format(1, "body"))
        return time.monotonic() - began

    async with asyncio.timeout(10):
        while not least <= await asyncio.to_thread(seconds) <= most:
            pass
