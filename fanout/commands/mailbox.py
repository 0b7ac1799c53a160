"""`fanout mailbox`: what arrived at the local mail server, and how slow that server is told to be."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from fanout.console import say
from fanout.durations import seconds
from fanout.errors import NotRunning
from fanout.local.smtp_server import delay_seconds
from fanout.local.stack_directory import StackDirectory, current, write_private
from fanout.mailbox.arrivals import Mail, arrivals

Order = Annotated[str | None, typer.Option("--order", metavar="ID", help="Only what is about this order.")]
Customer = Annotated[str | None, typer.Option("--to", metavar="CUSTOMER", help="Only what went to them.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show the newest so many.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")]
Delay = Annotated[
    float | None,
    typer.Option("--delay", parser=seconds, metavar="SPAN", help="Take so long for each mail; 0 ends it."),
]


def command(
    order: Order = None,
    to: Customer = None,
    limit: Limit = 50,
    json_output: Json = False,
    delay: Delay = None,
) -> None:
    """Show the e-mails that arrived, oldest first, with repeats marked; or make the mail server slow.

    Example: fanout mailbox --to customer-001
    Example: fanout mailbox --delay 750ms
    """
    if delay is not None:
        set_delay(current(), delay)
        return
    found = [mail for mail in arrivals(current().mail) if mail.is_about(order) and mail.is_to(to)]
    if json_output:
        print(json.dumps(_as_json(found, limit), indent=2))
        return
    if slow := delay_seconds(current().mail_delay):
        say(f"the mail server takes {slow * 1000:.0f} ms for each mail: fanout mailbox --delay 0")
    for mail in found[-limit:]:
        print(_line(mail))
    print(summary(found, limit, is_filtered=bool(order or to)))


def set_delay(home: StackDirectory, delay: float) -> None:
    """Takes effect with the next mail."""
    if not home.path.exists():
        raise NotRunning
    if delay == 0:
        home.mail_delay.unlink(missing_ok=True)
        say("the mail server takes mails at once")
        return
    write_private(home.mail_delay, f"{delay * 1000:.0f}\n")
    say(f"the mail server takes {delay * 1000:.0f} ms for each mail")


def summary(found: Sequence[Mail], limit: int, is_filtered: bool) -> str:
    if not found:
        return "nothing like that has arrived" if is_filtered else "nothing has arrived"
    older = f", the newest {limit} are shown" if len(found) > limit else ""
    word = "message" if len(found) == 1 else "messages"
    return f"{len(found)} {word}, {_repeats(found)} repeated{older}"


def _as_json(found: Sequence[Mail], limit: int) -> dict[str, object]:
    shown = [asdict(mail) | {"arrived_at": mail.arrived_at.isoformat()} for mail in found[-limit:]]
    return {"messages": shown, "count": len(found), "repeated": _repeats(found)}


def _repeats(found: Sequence[Mail]) -> int:
    return sum(mail.is_repeat for mail in found)


def _line(mail: Mail) -> str:
    """One mail, one line, however long, so that it can be searched."""
    mark = "  (repeat)" if mail.is_repeat else ""
    return f"{mail.arrived_at:%Y-%m-%d %H:%M:%S}  {mail.to:<30}  {mail.subject:<26}  {mail.message_id}{mark}"
