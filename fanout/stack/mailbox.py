"""The mail server of the local stack: takes every message and keeps it, as slowly as it is told to.

`python -m fanout.stack.mailbox HOST PORT FOLDER` keeps each message in the Maildir FOLDER. The file beside it
named in `DELAY_FILE` says how many milliseconds a message takes; it is read anew for each.
"""

import asyncio
import contextlib
import mailbox
import signal
import sys
from pathlib import Path
from typing import Any

from fanout.stack.home import Home
from fanout.stack.ports import HOST, Ports
from fanout.stack.process import Process

NAME = "mailbox"
DOMAIN = "mailbox.fanout.example"
DELAY_FILE = "mail-delay"
STOP_SECONDS = 5


def process(home: Home, ports: Ports) -> Process:
    command = [sys.executable, "-m", "fanout.stack.mailbox", HOST, str(ports.smtp), str(home.mail)]
    return Process(NAME, command, ports=(ports.smtp,), stop_seconds=STOP_SECONDS, priority=40)


def main() -> None:
    host, port, folder = sys.argv[1:]
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(host, int(port), Path(folder)))


async def serve(host: str, port: int, folder: Path) -> None:
    """Until it is cancelled or the process is told to end; a message in the middle is then not taken."""
    from aiosmtpd.smtp import SMTP

    loop, taker = asyncio.get_running_loop(), Taker(folder)
    if (task := asyncio.current_task()) is not None:
        loop.add_signal_handler(signal.SIGTERM, task.cancel)
    server = await loop.create_server(lambda: SMTP(taker, hostname=DOMAIN, loop=loop), host, port)
    async with server:
        await server.serve_forever()


class Taker:
    def __init__(self, folder: Path) -> None:
        self._mail = mailbox.Maildir(folder)
        self._delay_file = folder.with_name(DELAY_FILE)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(delay_seconds(self._delay_file))
        self._mail.add(envelope.content)
        return "250 kept"


def delay_seconds(file: Path) -> float:
    """0 when there is no such file, or no number in it."""
    try:
        return int(file.read_text()) / 1000
    except (OSError, ValueError):
        return 0.0


if __name__ == "__main__":
    main()
