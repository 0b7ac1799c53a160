"""The mail server of either stack: accepts every message and keeps it, as slowly as it is told to.

`python -m fanout.local.smtp_server HOST PORT FOLDER` keeps each message in the Maildir FOLDER. The file
`mail-delay` beside it says how many milliseconds a message takes; it is read every tenth of a second, as is
`mail-fault`, which hides it for a while (see `fanout.local.mail_fault`).
"""

import asyncio
import contextlib
import mailbox
import os
import re
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, cast

from aiosmtpd.smtp import SMTP

from fanout.local import mail_fault
from fanout.local.mail_fault import MailState, current_fault

DOMAIN = "mailbox.fanout.example"
DELAY_FILE = "mail-delay"
DELAY_IS_READ_SECONDS = 0.1
CLOSING = "421 closing"
"""What RFC 5321 has a server say that is about to stop."""
PLAIN_ADDRESS = re.compile(r"<([\w.+-]+@[\w.-]+)>", re.ASCII)


def main() -> None:
    import uvloop

    host, port, folder = sys.argv[1:]
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(serve(host, int(port), Path(folder)))


async def serve(host: str, port: int, folder: Path) -> None:
    """Runs until it is cancelled or gets SIGTERM; a message that is half received then is not kept."""
    loop, handler = asyncio.get_running_loop(), MailHandler(folder)
    if (task := asyncio.current_task()) is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    server = await loop.create_server(lambda: SmtpSession(handler, hostname=DOMAIN, loop=loop), host, port)
    async with server:
        await server.serve_forever()


class MailHandler:
    """The mail handler that aiosmtpd calls: announces pipelining, and writes each message to a file of its own."""

    def __init__(self, folder: Path) -> None:
        mailbox.Maildir(folder)  # makes the folders
        self._unfinished, self._new = f"{folder}/tmp", f"{folder}/new"
        self._numbers = count(1)
        self._delay_file = folder.with_name(DELAY_FILE)
        self._fault_file = folder.with_name(mail_fault.FILE)
        self._state = MailState(0.0)
        self._read_at = float("-inf")

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        greeting, *extensions = responses
        return [greeting, "250-PIPELINING", *extensions]

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, arg: str) -> str:
        return CLOSING if self.is_stopped() else "250 OK"

    async def handle_MAIL(
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self.is_stopped():
            return CLOSING
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if delay := self._current_state().seconds:
            await asyncio.sleep(delay)
        self._keep(envelope.content)
        return "250 kept"

    def is_stopped(self) -> bool:
        return self._current_state().is_stopped

    def _current_state(self) -> MailState:
        if (now := time.monotonic()) > self._read_at + DELAY_IS_READ_SECONDS:
            usual = MailState(delay_seconds(self._delay_file))
            self._state, self._read_at = current_fault(self._fault_file) or usual, now
        return self._state

    def _keep(self, content: bytes) -> None:
        """Names the file as https://cr.yp.to/proto/maildir.html says, and leaves syncing to the system."""
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        name = f"{seconds}.M{microseconds}P{os.getpid()}Q{next(self._numbers)}.{DOMAIN}"
        with open(f"{self._unfinished}/{name}", "xb", buffering=0) as file:
            file.write(content)
        os.rename(f"{self._unfinished}/{name}", f"{self._new}/{name}")


class SmtpSession(SMTP):
    """aiosmtpd's session with replies that travel together (RFC 2920); takes a third of its time for a message."""

    _held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ends a session as it begins while the server counts as stopped."""
        super().connection_made(transport)
        if self.event_handler.is_stopped():
            cast(asyncio.Transport, transport).abort()  # uvloop's is one, but is not derived from it

    async def push(self, status: str | bytes) -> None:
        """Holds a 250 back until another reply follows or the client has to wait for this one."""
        reply = status if isinstance(status, bytes) else status.encode("ascii")
        if not reply.startswith(b"250"):
            await super().push(self._take_held() + reply)
            return
        if not self._held:
            self.loop.call_soon(self._send_held)
        self._held += reply + b"\r\n"

    def _send_held(self) -> None:
        if self._held and self.transport is not None:
            self._writer.write(self._take_held())

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        return held

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """Parses plain addresses itself, because aiosmtpd takes 0.05 ms for each."""
        if plain := PLAIN_ADDRESS.match(arg):
            return plain[1], arg[plain.end() :]
        parsed: tuple[str | None, str | None] = super()._getaddr(arg)
        return parsed


def delay_seconds(file: Path) -> float:
    """Returns 0 when there is no such file, or no number in it."""
    try:
        return int(file.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    main()
