"""The way to the mail server: one connection, kept while it works, and what the server's answers mean."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.policy import SMTP
from typing import Literal

import aiosmtplib
from aiosmtplib import SMTPDataError, SMTPException, SMTPRecipientRefused

from chassis.failures import InfrastructureFailure
from services.notifications.domain import MESSAGE_IDS, SENDER, Message, email

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
GOODBYE_SECONDS = 1.0
SERVER_CLOSES = 421
WHOLE_LINES = SMTP.clone(max_line_length=200)
"""A Message-ID of 80 characters stays on the line of its name."""

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
        self._server = aiosmtplib.SMTP(
            hostname=host, port=int(port), timeout=ANSWER_SECONDS, local_hostname=MESSAGE_IDS
        )

    async def open(self) -> None:
        if not self._server.is_connected:
            try:
                await self._server.connect(timeout=CONNECT_SECONDS)
                await self._server.ehlo(timeout=CONNECT_SECONDS)
            except (SMTPException, OSError) as error:
                raise MailServerAway(str(error)) from error

    async def hand_over(self, message: Message) -> Answer:
        """When it raises, the server may have taken the message or not."""
        try:
            mail = email(message, datetime.now(UTC))
            await self._server.sendmail(SENDER.addr_spec, str(mail["To"]), mail.as_bytes(policy=WHOLE_LINES))
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _verdict(error.recipients[0])
        except SMTPDataError as error:
            return _verdict(error)
        except ValueError as error:
            return Answer("refused", f"not written as an e-mail: {error}")
        except (SMTPException, OSError) as error:
            raise MailServerAway(str(error)) from error
        return Answer("sent")

    def hang_up(self) -> None:
        self._server.close()

    async def close(self) -> None:
        with suppress(SMTPException, OSError):
            await self._server.quit(timeout=GOODBYE_SECONDS)
        self.hang_up()


def _verdict(refusal: SMTPDataError | SMTPRecipientRefused) -> Answer:
    """RFC 5321, 4.2.1: 4yz may work later, 5yz never will."""
    words = f"{refusal.code} {refusal.message}"
    if refusal.code == SERVER_CLOSES:
        raise MailServerAway(words)
    return Answer("refused" if refusal.code >= 500 else "later", words)
