"""An SMTP client session (RFC 5321) that sends commands together where the server allows it (RFC 2920)."""

import asyncio
from contextlib import suppress
from smtplib import quotedata
from typing import NamedTuple

SERVER_CLOSES = 421
SEND_CONTENT = 354
MOST_LINES = 100


class SmtpError(ConnectionError):
    """The server ended the session, closes its service (421), or sent what is not SMTP."""


class Reply(NamedTuple):
    code: int
    text: str

    @property
    def is_refusal(self) -> bool:
        return self.code >= 400

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class Session:
    """Serves one task at a time; after an error or a cancellation it can only be aborted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._pipelining = False

    @classmethod
    async def connect(cls, host: str, port: int, client_name: str) -> "Session":
        session = cls(*await asyncio.open_connection(host, port))
        try:
            greeting = await session._reply()
            (hello,) = await session.ask(f"EHLO {client_name}")
            if greeting.is_refusal or hello.is_refusal:
                raise SmtpError(f"the server refuses the session: {greeting}, {hello}")
        except BaseException:
            session.abort()
            raise
        session._pipelining = "PIPELINING" in hello.text.upper().splitlines()
        return session

    async def deliver(self, sender: str, recipient: str, content: str) -> Reply:
        """Returns the server's reply to the mail, or to a refused recipient. Raises SmtpError for a refused sender."""
        data = (quotedata(content.removesuffix("\n") + "\n") + ".\r\n").encode("ascii")
        envelope = await self.ask(f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA")
        if envelope[0].is_refusal:
            raise SmtpError(f"the server refuses the sender: {envelope[0]}")
        if refusal := next((reply for reply in envelope if reply.is_refusal), None):
            if (
                envelope[-1].code == SEND_CONTENT
            ):  # RFC 2920, 3.1: DATA was accepted without a recipient, so end it
                await self._send(b".\r\n")
            await self.ask("RSET")
            return refusal
        if envelope[-1].code != SEND_CONTENT:
            raise SmtpError(f"the server does not accept content: {envelope[-1]}")
        return await self._send(data)

    async def ask(self, *commands: str) -> list[Reply]:
        """Returns a reply to each command; without pipelining it stops after the first refusal."""
        if any(not command.isprintable() for command in commands):
            raise ValueError(f"a command must be one printable line: {commands}")
        if self._pipelining:
            self._writer.write("".join(f"{command}\r\n" for command in commands).encode("ascii"))
            return [await self._reply() for _ in commands]
        replies: list[Reply] = []
        for command in commands:
            replies.append(await self._send(f"{command}\r\n".encode("ascii")))
            if replies[-1].is_refusal:
                break
        return replies

    async def quit(self) -> None:
        with suppress(OSError):
            await self.ask("QUIT")
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _send(self, data: bytes) -> Reply:
        self._writer.write(data)
        return await self._reply()

    async def _reply(self) -> Reply:
        lines = []
        for _ in range(MOST_LINES):
            line = await self._line()
            lines.append(line[4:].strip())
            if line[3:4] != "-":
                break
        else:
            raise SmtpError(f"the server sent a reply of more than {MOST_LINES} lines")
        if not line[:3].isdecimal():
            raise SmtpError(f"the server sent what is not an SMTP reply: {line[:80]!r}")
        reply = Reply(int(line[:3]), "\n".join(lines))
        if reply.code == SERVER_CLOSES:
            raise SmtpError(str(reply))
        return reply

    async def _line(self) -> str:
        try:
            line = await self._reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise SmtpError(f"the server ended the session: {error}") from error
        return line.decode("utf-8", "replace")
