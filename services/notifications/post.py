"""The way to the mail server: one session, kept while it works, and what the server's answers mean."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from chassis.errors import InfrastructureFailure
from services.notifications.domain import MESSAGE_IDS, SENDER, Message, email
from services.notifications.smtp import Reply, Session

CONNECT_SECONDS = 5.0
GOODBYE_SECONDS = 1.0

Outcome = Literal["sent", "refused", "later", "unreached"]


class MailServerAway(InfrastructureFailure):
    """It does not answer, or serves nobody now; no message is to blame."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one message, and the server's words when it did not take it."""

    outcome: Outcome
    words: str | None = None


class Post:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._session: Session | None = None

    async def open(self) -> None:
        """Makes sure that the server is there, so that a session it ended meanwhile costs no message a try."""
        if self._session is not None:
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._session.ask("NOOP")
                    return
            self.hang_up()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._session = await Session.connect(self._host, self._port, MESSAGE_IDS)
        except OSError as error:
            raise MailServerAway(f"no mail server at {self._host}:{self._port}: {error}") from error

    async def hand_over(self, message: Message) -> Answer:
        """When it raises, the server may have taken the message or not. The session must be open."""
        assert self._session is not None
        try:
            mail = email(message, datetime.now(UTC))
            reply = await self._session.deliver(SENDER.addr_spec, mail.recipient, mail.content)
        except ValueError as error:
            return Answer("refused", f"not written as an e-mail: {error}")
        except OSError as error:
            raise MailServerAway(str(error)) from error
        return _verdict(reply)

    def hang_up(self) -> None:
        if self._session is not None:
            self._session.abort()
            self._session = None

    async def close(self) -> None:
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await self._session.quit()
        self.hang_up()


def _verdict(reply: Reply) -> Answer:
    """RFC 5321, 4.2.1: 4yz may work later, 5yz never will."""
    if not reply.is_refusal:
        return Answer("sent")
    return Answer("refused" if reply.code >= 500 else "later", str(reply))
