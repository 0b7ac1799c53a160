"""The SMTP client of the sender, against servers that say what the test wants, byte by byte."""

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

    async def hears(self, expected: bytes) -> None:
        """What comes before the server says anything more, all of it and nothing else."""
        heard = await self._reader.readexactly(len(expected))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                heard += await self._reader.read(1)
        assert heard == expected

    async def says(self, replies: str) -> None:
        self._writer.write(f"{replies}\r\n".encode())

    def breaks_off(self) -> None:
        self._writer.close()


@asynccontextmanager
async def session(script: Script, hello: str = PIPELINING) -> AsyncIterator[Session]:
    """With a server that follows the script to its end after EHLO."""
    ended = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        try:
            await wire.says("220 here")
            await wire.hears(b"EHLO me\r\n")
            await wire.says(hello)
            await script(wire)
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)
        wire.breaks_off()

    async with asyncio.timeout(5), await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        connected = await Session.connect("127.0.0.1", server.sockets[0].getsockname()[1], "me")
        try:
            yield connected
        finally:
            await ended
            connected.abort()


async def test_commands_travel_together_to_a_server_that_announces_it() -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(ENVELOPE)
        await wire.says("250 ok\r\n250 ok\r\n354 go on")
        await wire.hears(b"one\r\n..\r\n..two\r\n.\r\n")
        await wire.says("250 kept")

    async with session(script) as smtp:
        assert str(await smtp.deliver("a@x", "b@y", "one\n.\n.two\n")) == "250 kept"


async def test_commands_wait_for_their_answers_with_a_server_that_announces_nothing() -> None:
    async def script(wire: Wire) -> None:
        for command in ENVELOPE.splitlines(keepends=True):
            await wire.hears(command)
            await wire.says("354 go on" if command.startswith(b"DATA") else "250 ok")
        await wire.hears(b"one\r\n.\r\n")
        await wire.says("250 kept")

    async with session(script, hello="250-here\r\n250 HELP") as smtp:
        assert not (await smtp.deliver("a@x", "b@y", "one")).is_refusal


async def test_nothing_follows_a_refused_recipient_when_commands_wait() -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(b"MAIL FROM:<a@x>\r\n")
        await wire.says("250 ok")
        await wire.hears(b"RCPT TO:<b@y>\r\n")
        await wire.says("550 nobody")
        await wire.hears(b"RSET\r\n")
        await wire.says("250 ok")

    async with session(script, hello="250 here") as smtp:
        assert (await smtp.deliver("a@x", "b@y", "one")).code == 550


@pytest.mark.parametrize("data", ["503 nobody to get it", "354 go on"])
async def test_a_refused_recipient_gets_no_content_whatever_the_server_says_to_data(data: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(ENVELOPE)
        await wire.says(f"250 ok\r\n450-later\r\n450 please\r\n{data}")
        if data.startswith("354"):
            await wire.hears(b".\r\n")
            await wire.says("554 no recipients")
        await wire.hears(b"RSET\r\n")
        await wire.says("250 ok")

    async with session(script) as smtp:
        assert str(await smtp.deliver("a@x", "b@y", "one")) == "450 later\nplease"


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ("250 ok\r\n250 ok\r\n421 closing", "421 closing"),
        ("530 who are you\r\n503 no\r\n503 no", "the sender is refused: 530 who are you"),
        ("250 ok\r\n250 ok\r\n250 ok", "content is not asked for: 250 ok"),
        ("hello", "not an SMTP reply: 'hello"),
        ("250-and\r\n" * 200 + "250 end", "more than 100 lines"),
        ("2" * 100_000, "broke off"),
    ],
)
async def test_a_server_that_is_of_no_use_to_any_message_is_an_error_of_the_session(
    replies: str, error: str
) -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(ENVELOPE)
        await wire.says(replies)

    async with session(script) as smtp:
        with pytest.raises(SmtpError, match=error):
            await smtp.deliver("a@x", "b@y", "one")


async def test_a_server_that_breaks_off_is_an_error_of_the_session() -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(ENVELOPE)
        wire.breaks_off()

    async with session(script) as smtp:
        with pytest.raises(SmtpError, match="broke off"):
            await smtp.deliver("a@x", "b@y", "one")


@pytest.mark.parametrize("recipient", ["b@y>\r\nRSET", "b@y\n", "zoë@y"])
async def test_what_is_no_command_is_never_written(recipient: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(b"NOOP\r\n")
        await wire.says("250 ok")

    async with session(script) as smtp:
        with pytest.raises(ValueError):
            await smtp.deliver("a@x", recipient, "one")
        await smtp.ask("NOOP")


async def test_content_that_is_no_ascii_is_refused_before_the_server_hears_of_it() -> None:
    async def script(wire: Wire) -> None:
        await wire.hears(b"NOOP\r\n")
        await wire.says("250 ok")

    async with session(script) as smtp:
        with pytest.raises(ValueError):
            await smtp.deliver("a@x", "b@y", "zoë")
        await smtp.ask("NOOP")
