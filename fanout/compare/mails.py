"""When the mail about a payment arrived, of either side, read from the names and heads of the mail server's files."""

import re
from collections import defaultdict
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from fanout.compare.samples import Side

DOMAINS: dict[str, Side] = {
    "notifications.fanout.example": "events",
    "notifier.synchronous.example": "synchronous",
}
"""The part of a Message-ID behind its @."""
PAID = "Your payment went through"
_NAME = re.compile(r"(\d+)\.M(\d+)P")


class Mails:
    """Mails that arrive after this was made. `paid` has Unix times by side and order; `orders` had any mail of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "new"
        self._known = set(self._names())
        self._of_synchronous: list[Path] = []
        self.paid: dict[Side, dict[str, float]] = defaultdict(dict)
        self.orders: set[str] = set()

    def look(self) -> None:
        """Reads what has arrived since it was last called."""
        for name in self._names() - self._known:
            self._known.add(name)
            with (self._folder / name).open("rb") as opened:
                self._take(name, BytesParser().parse(opened, headersonly=True))

    def remove_of_synchronous(self) -> None:
        """Deletes the mails of the synchronous side, whose orders the system's mailbox would show twice."""
        self.look()
        for file in self._of_synchronous:
            file.unlink(missing_ok=True)

    def _take(self, name: str, head: Message) -> None:
        side = DOMAINS.get(str(head["Message-ID"]).rpartition("@")[2].rstrip("> "))
        order_id = str(head["X-Order-ID"])
        if side == "synchronous":
            self._of_synchronous.append(self._folder / name)
        elif side == "events":
            self.orders.add(order_id)
        if side and head["Subject"] == PAID:
            self.paid[side].setdefault(order_id, arrived_at(name))

    def _names(self) -> set[str]:
        return {file.name for file in self._folder.glob("*")}


def arrived_at(name: str) -> float:
    """Returns the Unix time in the name of a Maildir's file; infinity if it has none."""
    found = _NAME.match(name)
    return int(found[1]) + int(found[2]) / 1_000_000 if found else float("inf")
