"""A real SMTP server inside the test: it keeps what it takes, and can be slow, rude, or gone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP
from sqlalchemy import select

from chassis.config import Settings
from chassis.database import Database
from services.notifications.sender import DRAIN_SECONDS, send
from services.notifications.service import service as notifications
from services.notifications.tables import messages
from tests.support import sample_events

HOST = "127.0.0.1"


class SmtpInbox:
    """`answers` are given to a recipient instead of 250; `hangs_up_on` breaks the connection off in DATA.

    `answer_to_sender` is given to MAIL; `pipelining` is announced.
    """

    def __init__(self, pipelining: bool = True) -> None:
        self.pipelining = pipelining
        self.answer_to_sender = "250 OK"
        self.taken: list[EmailMessage] = []
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, str] = {}
        self.hangs_up_on: set[str] = set()
        self.delay = 0.0
        self.busy = asyncio.Event()
        self.connections: set[Any] = set()
        self.port = 0
        self._protocols: list[Any] = []

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def ids(self) -> Counter[str]:
        return Counter(mail["Message-ID"] for mail in self.taken)

    def to(self, customer: str) -> list[EmailMessage]:
        return [mail for mail in self.taken if mail["To"] == f"{customer}@customers.example"]

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, said: Any) -> Any:
        session.host_name = name
        self.connections.add(session.peer)
        greeting, *extensions = said
        return [greeting, *(["250-PIPELINING"] if self.pipelining else []), *extensions]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.answer_to_sender.startswith("250"):
            envelope.mail_from = address
        return self.answer_to_sender

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        customer = address.partition("@")[0]
        self.asked[customer] += 1
        if customer in self.answers:
            return self.answers[customer]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.busy.set()
        await asyncio.sleep(self.delay)
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        if envelope.rcpt_tos[0].partition("@")[0] in self.hangs_up_on:
            server.transport.close()
            return "421 gone"
        self.taken.append(mail)
        return "250 OK"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """On the port it had before, once it has had one; leaving breaks all connections off."""
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(lambda: self._protocol(loop), HOST, self.port)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            listener.close()
            self.hang_up()

    def hang_up(self) -> None:
        """Breaks all connections off."""
        for protocol in self._protocols:
            if protocol.transport is not None:
                protocol.transport.abort()
        self._protocols.clear()

    def _protocol(self, loop: asyncio.AbstractEventLoop) -> Any:
        self._protocols.append(SMTP(self, hostname="test.example", loop=loop))
        return self._protocols[-1]


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def sending(database: Database, server: SmtpInbox) -> AsyncIterator["asyncio.Task[None]"]:
    """Notifications' sender as in a worker; in the end it is asked to stop, and must."""
    stop, settings = asyncio.Event(), Settings(database_url="-", smtp=server.address)
    task = asyncio.create_task(send(database, settings, stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=DRAIN_SECONDS + 3)
    assert task.done()
    if not task.cancelled():
        task.result()


async def tell(database: Database, *customers: str) -> None:
    """A message to each."""
    placed = [sample_events.order_placed(f"o-{customer}", customer_id=customer) for customer in customers]
    await sample_events.deliver(database, notifications, *placed)


async def rows(database: Database) -> Mapping[str, Mapping[str, Any]]:
    """The messages by customer."""
    return {row["customer_id"]: row for row in await sample_events.fetch(database, select(messages))}


async def all_decided(database: Database) -> bool:
    return all(row["sent_at"] or row["refused_at"] for row in (await rows(database)).values())
