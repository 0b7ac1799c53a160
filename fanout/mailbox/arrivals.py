"""The mails in a Maildir, oldest first, and which of them had arrived before under the same Message-ID."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

# https://cr.yp.to/proto/maildir.html: seconds, microseconds, process and its counter name a file.
_NAME = re.compile(r"(\d+)\.M(\d+)P\d+Q(\d+)\.")


@dataclass(frozen=True, slots=True)
class Mail:
    """`is_repeat`: one with this Message-ID had arrived before."""

    arrived_at: datetime
    to: str
    subject: str
    message_id: str
    order_id: str
    is_repeat: bool

    def is_about(self, order: str | None) -> bool:
        return order is None or self.order_id == order

    def is_to(self, customer: str | None) -> bool:
        return customer is None or customer in (self.to, self.to.rpartition("@")[0])


def arrivals(folder: Path) -> list[Mail]:
    """None of a folder that is not there."""
    return list(_read(sorted((folder / "new").glob("*"), key=_arrival)))


def _arrival(file: Path) -> tuple[int, int, int]:
    found = _NAME.match(file.name)
    seconds, microseconds, number = map(int, found.groups()) if found else (0, 0, 0)
    return seconds, microseconds, number


def _read(files: list[Path]) -> Iterator[Mail]:
    seen: set[str] = set()
    parser = BytesParser()
    for file in files:
        with file.open("rb") as opened:
            headers = parser.parse(opened, headersonly=True)
        mail = _mail(file, headers, seen)
        seen.add(mail.message_id)
        yield mail


def _mail(file: Path, headers: Message, seen: set[str]) -> Mail:
    seconds, microseconds, _ = _arrival(file)
    message_id = _text(headers, "Message-ID")
    return Mail(
        arrived_at=datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds),
        to=_text(headers, "To"),
        subject=str(make_header(decode_header(_text(headers, "Subject")))),
        message_id=message_id,
        order_id=_text(headers, "X-Order-ID"),
        is_repeat=bool(message_id) and message_id in seen,
    )


def _text(headers: Message, name: str) -> str:
    """Without the line breaks that keep a header's lines short; "" when there is none."""
    return " ".join(str(headers.get(name, "")).split())
