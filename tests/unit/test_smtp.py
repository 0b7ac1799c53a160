"""The SMTP session of the sender, against servers that follow a script byte by byte."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from services.notifications.smtp import Session, SmtpError

ENVELOPE = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n"
PIPELINING = "250-here\r\n250 PIPELINING"

Script = Callable[["Wire"], Awaitable[None]]


class Wire:
    """The server's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def expect(self, expected: bytes) -> None:
        """Reads exactly these bytes, and checks that nothing follows them."""
        received = await self._reader.readexactly(len(expected))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                received += await self._reader.read(1)
        assert received == expected

    async def send(self, replies: str) -> None:
        self._writer.write(f"{replies}\r\n".encode())

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def session(script: Script, hello: str = PIPELINING) -> AsyncIterator[Session]:
    """Returns a session with a server that follows the script after EHLO; fails unless the script ends."""
    ended = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        try:
            await wire.send("220 here")
            await wire.expect(b"EHLO me\r\n")
            await wire.send(hello)
            await script(wire)
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)
        wire.close()

    async with asyncio.timeout(5), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connected = await Session.connect("127.0.0.1", server.sockets[0].getsockname()[1], "me")
        try:
            yield connected
        finally:
            await ended
            connected.abort()


async def test_commands_are_sent_together_to_a_server_that_announces_pipelining() -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(ENVELOPE)
        await wire.send("250 ok\r\n250 ok\r\n354 go on")
        await wire.expect(b"one\r\n..\r\n..two\r\n.\r\n")
        await wire.send("250 kept")

    async with session(script) as smtp:
        assert str(await smtp.deliver("a@x", "b@y", "one\n.\n.two\n")) == "250 kept"


async def test_without_pipelining_each_command_waits_for_the_reply() -> None:
    async def script(wire: Wire) -> None:
        for command in ENVELOPE.splitlines(keepends=True):
            await wire.expect(command)
            await wire.send("354 go on" if command.startswith(b"DATA") else "250 ok")
        await wire.expect(b"one\r\n.\r\n")
        await wire.send("250 kept")

    async with session(script, hello="250-here\r\n250 HELP") as smtp:
        assert not (await smtp.deliver("a@x", "b@y", "one")).is_refusal


async def test_without_pipelining_no_command_follows_a_refused_recipient() -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(b"MAIL FROM:<a@x>\r\n")
        await wire.send("250 ok")
        await wire.expect(b"RCPT TO:<b@y>\r\n")
        await wire.send("550 nobody")
        await wire.expect(b"RSET\r\n")
        await wire.send("250 ok")

    async with session(script, hello="250 here") as smtp:
        assert (await smtp.deliver("a@x", "b@y", "one")).code == 550


@pytest.mark.parametrize("data", ["503 nobody to get it", "354 go on"])
async def test_a_refused_recipient_gets_no_content_whatever_the_server_replies_to_data(data: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(ENVELOPE)
        await wire.send(f"250 ok\r\n450-later\r\n450 please\r\n{data}")
        if data.startswith("354"):
            await wire.expect(b".\r\n")
            await wire.send("554 no recipients")
        await wire.expect(b"RSET\r\n")
        await wire.send("250 ok")

    async with session(script) as smtp:
        assert str(await smtp.deliver("a@x", "b@y", "one")) == "450 later\nplease"


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ("250 ok\r\n250 ok\r\n421 closing", "421 closing"),
        ("530 who are you\r\n503 no\r\n503 no", "the server refuses the sender: 530 who are you"),
        ("250 ok\r\n250 ok\r\n250 ok", "does not accept content: 250 ok"),
        ("hello", "not an SMTP reply: 'hello"),
        ("250-and\r\n" * 200 + "250 end", "more than 100 lines"),
        ("2" * 100_000, "ended the session"),
    ],
)
async def test_a_reply_that_concerns_every_message_is_an_error_of_the_session(
    replies: str, error: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(ENVELOPE)
        await wire.send(replies)

    async with session(script) as smtp:
        with pytest.raises(SmtpError, match=error):
            await smtp.deliver("a@x", "b@y", "one")


async def test_a_connection_that_the_server_closes_is_an_error_of_the_session() -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(ENVELOPE)
        wire.close()

    async with session(script) as smtp:
        with pytest.raises(SmtpError, match="ended the session"):
            await smtp.deliver("a@x", "b@y", "one")


@pytest.mark.parametrize("recipient", ["b@y>\r\nRSET", "b@y\n", "zoë@y"])
async def test_a_command_with_a_line_break_or_outside_ascii_is_never_sent(recipient: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(b"NOOP\r\n")
        await wire.send("250 ok")

    async with session(script) as smtp:
        with pytest.raises(ValueError):
            await smtp.deliver("a@x", recipient, "one")
        await smtp.ask("NOOP")


async def test_content_outside_ascii_is_refused_before_anything_is_sent() -> None:
    async def script(wire: Wire) -> None:
        await wire.expect(b"NOOP\r\n")
        await wire.send("250 ok")

    async with session(script) as smtp:
        with pytest.raises(ValueError):
            await smtp.deliver("a@x", "b@y", "zoë")
        await smtp.ask("NOOP")
