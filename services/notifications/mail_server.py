"""Delivers single messages to the mail server over one session, which is kept open as long as it works."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from chassis.errors import InfrastructureFailure
from services.notifications.domain import MESSAGE_IDS, SENDER, Message, email
from services.notifications.smtp import Reply, Session

CONNECT_SECONDS = 5.0
QUIT_SECONDS = 1.0

Outcome = Literal["sent", "refused", "postponed", "not_attempted"]


class MailServerUnavailable(InfrastructureFailure):
    """The mail server does not answer or refuses all mail; the message is not the cause."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome for one message, and the server's reply if it did not accept it."""

    outcome: Outcome
    error: str | None = None


class MailServer:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._session: Session | None = None

    async def connect(self) -> None:
        """Opens a session, or checks the one that is open, so that a session the server ended costs no attempt.

        Raises MailServerUnavailable.
        """
        if self._session is not None:
            with suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._session.ask("NOOP")
                    return
            self.abort()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._session = await Session.connect(self._host, self._port, MESSAGE_IDS)
        except OSError as error:
            raise MailServerUnavailable(f"no mail server at {self._host}:{self._port}: {error}") from error

    async def deliver(self, message: Message) -> Delivery:
        """Sends one message over the open session.

        Raises MailServerUnavailable; the server may have accepted the message nevertheless.
        """
        assert self._session is not None
        try:
            mail = email(message, datetime.now(UTC))
            reply = await self._session.deliver(SENDER.addr_spec, mail.recipient, mail.content)
        except ValueError as error:
            return Delivery("refused", f"cannot be written as an e-mail: {error}")
        except OSError as error:
            raise MailServerUnavailable(str(error)) from error
        return _delivery(reply)

    def abort(self) -> None:
        if self._session is not None:
            self._session.abort()
            self._session = None

    async def close(self) -> None:
        if self._session is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(QUIT_SECONDS):
                    await self._session.quit()
        self.abort()


def _delivery(reply: Reply) -> Delivery:
    """Classifies a reply (RFC 5321, 4.2.1): 4yz is a temporary refusal, 5yz a permanent one."""
    if not reply.is_refusal:
        return Delivery("sent")
    return Delivery("refused" if reply.code >= 500 else "postponed", str(reply))
