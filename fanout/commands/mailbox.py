"""`fanout mailbox`: the e-mails that arrived at the local mail server, read from its Maildir, and its delay."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Annotated

import typer

from fanout.console import Json, counted, print_json, printable, say
from fanout.durations import seconds
from fanout.errors import NotRunning
from fanout.local.smtp_server import delay_seconds
from fanout.local.stack_directory import StackDirectory, current, write_private

Order = Annotated[str | None, typer.Option(metavar="ID", help="Only e-mails about this order.")]
Customer = Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Only e-mails to this customer.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="Show the newest so many.")]
Delay = Annotated[float | None, typer.Option(parser=seconds, metavar="SPAN", help="How long each takes.")]
Ids = Annotated[bool, typer.Option("--ids", help="Also show the order and the Message-ID of each.")]

# https://cr.yp.to/proto/maildir.html: seconds, microseconds, process and its counter name a file.
_NAME = re.compile(r"(\d+)\.M(\d+)P\d+Q(\d+)\.")


@dataclass(frozen=True, slots=True)
class Mail:
    """`is_repeat`: another e-mail with this Message-ID had arrived before."""

    arrived_at: datetime
    to: str
    subject: str
    message_id: str
    order_id: str
    is_repeat: bool

    @property
    def customer(self) -> str:
        """The address without its domain, as --to takes it."""
        return self.to.rpartition("@")[0] or self.to

    def line(self, ids: bool) -> str:
        """Returns one line, with `ids` a long one, so that it can be searched."""
        line = f"{self.arrived_at:%Y-%m-%d %H:%M:%S}  {self.customer:<14}  {self.subject:<26}"
        named = f"  {self.order_id:<36}  {self.message_id}" if ids else ""
        return (line + named + "  (repeat)" * self.is_repeat).rstrip()


def command(
    order: Order = None,
    to: Customer = None,
    limit: Limit = 50,
    json_output: Json = False,
    delay: Delay = None,
    ids: Ids = False,
) -> None:
    """Show the e-mails that arrived, oldest first, with repeats marked; or make the mail server slow.

    A repeat has a Message-ID that had arrived before.

    Example: fanout mailbox --to customer-001
    Example: fanout mailbox --delay 750ms
    """
    directory = current()
    if delay is not None:
        set_delay(directory, delay)
        return
    found = [
        mail
        for mail in arrivals(directory.mail)
        if order in (None, mail.order_id) and to in (None, mail.to, mail.to.rpartition("@")[0])
    ]
    shown, repeated = found[-limit:], sum(mail.is_repeat for mail in found)
    if json_output:
        print_json({"messages": list(map(asdict, shown)), "count": len(found), "repeated": repeated})
        return
    if slow := delay_seconds(directory.mail_delay):
        say(f"the mail server takes {slow * 1000:.0f} ms for each mail: fanout mailbox --delay 0")
    for mail in shown:
        print(printable(mail.line(ids)))
    if found:
        older = f", the newest {limit} are shown" if len(found) > limit else ""
        print(f"{counted(len(found), 'message')}, {repeated} repeated{older}")
    else:
        print("no such message has arrived" if order or to else "no message has arrived")


def set_delay(directory: StackDirectory, delay: float) -> None:
    """Takes effect with the next e-mail."""
    if not directory.path.exists():
        raise NotRunning
    if delay == 0:
        directory.mail_delay.unlink(missing_ok=True)
        say("the mail server takes each mail at once")
        return
    write_private(directory.mail_delay, f"{delay * 1000:.0f}\n")
    say(f"the mail server takes {delay * 1000:.0f} ms for each mail")


def arrivals(folder: Path) -> list[Mail]:
    """Returns the e-mails of a Maildir, oldest first; none if the folder does not exist."""
    files = sorted((folder / "new").glob("*"), key=_arrival)
    return list(_mails(files))


def _arrival(file: Path) -> tuple[int, ...]:
    found = _NAME.match(file.name)
    return tuple(map(int, found.groups())) if found else (0, 0, 0)


def _mails(files: Sequence[Path]) -> Iterator[Mail]:
    seen: set[str] = set()
    for file in files:
        with file.open("rb") as opened:
            headers = BytesParser().parse(opened, headersonly=True)
        seconds, microseconds, _ = _arrival(file)
        message_id = _text(headers, "Message-ID")
        yield Mail(
            arrived_at=datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds),
            to=_text(headers, "To"),
            subject=str(make_header(decode_header(_text(headers, "Subject")))),
            message_id=message_id,
            order_id=_text(headers, "X-Order-ID"),
            is_repeat=bool(message_id) and message_id in seen,
        )
        seen.add(message_id)


def _text(headers: Message, name: str) -> str:
    """Returns a header's value on one line, "" if there is none."""
    return " ".join(str(headers.get(name, "")).split())
