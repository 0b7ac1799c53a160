"""The mail server of the local stack: takes every message and keeps it, as slowly as it is told to.

`python -m fanout.local.smtp_server HOST PORT FOLDER` keeps each message in the Maildir FOLDER. The file beside it
named in `DELAY_FILE` says how many milliseconds a message takes; it is read anew every tenth of a second.
"""

import asyncio
import contextlib
import mailbox
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from fanout.local.ports import HOST, Ports
from fanout.local.process import Process
from fanout.local.stack_directory import StackDirectory

NAME = "mailbox"
DOMAIN = "mailbox.fanout.example"
DELAY_FILE = "mail-delay"
DELAY_IS_READ_SECONDS = 0.1
STOP_SECONDS = 5


def process(home: StackDirectory, ports: Ports) -> Process:
    command = [sys.executable, "-m", "fanout.local.smtp_server", HOST, str(ports.smtp), str(home.mail)]
    return Process(NAME, command, ports=(ports.smtp,), stop_seconds=STOP_SECONDS, priority=40)


def main() -> None:
    import uvloop

    host, port, folder = sys.argv[1:]
    with contextlib.suppress(asyncio.CancelledError):
        uvloop.run(serve(host, int(port), Path(folder)))


async def serve(host: str, port: int, folder: Path) -> None:
    """Until it is cancelled or the process is told to end; a message in the middle is then not taken."""
    from fanout.local.smtp_session import SmtpSession

    loop, handler = asyncio.get_running_loop(), MailHandler(folder)
    if (task := asyncio.current_task()) is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    server = await loop.create_server(lambda: SmtpSession(handler, hostname=DOMAIN, loop=loop), host, port)
    async with server:
        await server.serve_forever()


class MailHandler:
    """Answers aiosmtpd's hooks: announces pipelining, and writes each message to a file of its own."""

    def __init__(self, folder: Path) -> None:
        mailbox.Maildir(folder)  # makes the folders
        self._unfinished, self._new = f"{folder}/tmp", f"{folder}/new"
        self._numbers = count(1)
        self._delay_file = folder.with_name(DELAY_FILE)
        self._delay = 0.0
        self._delay_read_at = float("-inf")

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        greeting, *extensions = responses
        return [greeting, "250-PIPELINING", *extensions]

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if delay := self._current_delay():
            await asyncio.sleep(delay)
        self._keep(envelope.content)
        return "250 kept"

    def _current_delay(self) -> float:
        if (now := time.monotonic()) > self._delay_read_at + DELAY_IS_READ_SECONDS:
            self._delay, self._delay_read_at = delay_seconds(self._delay_file), now
        return self._delay

    def _keep(self, content: bytes) -> None:
        """Names the file as https://cr.yp.to/proto/maildir.html says, and leaves syncing to the system."""
        seconds, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
        name = f"{seconds}.M{microseconds}P{os.getpid()}Q{next(self._numbers)}.{DOMAIN}"
        with open(f"{self._unfinished}/{name}", "xb", buffering=0) as file:
            file.write(content)
        os.rename(f"{self._unfinished}/{name}", f"{self._new}/{name}")


def delay_seconds(file: Path) -> float:
    """0 when there is no such file, or no number in it."""
    try:
        return int(file.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    main()
