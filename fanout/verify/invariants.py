"""What must hold across services, as rules over the facts of their checks.sql files; and the reader of those files.

A service's checks.sql holds blocks of SQL: `-- check:` selects what is wrong, `-- fact:` the orders of which
something is so, `-- waiting:` what waits for an operator.

The two sides of a rule are read one after the other while orders go on, the left side first. A rule that holds
`ALWAYS` needs no pause: a cause that was there before its effect is still there when it is read later. A rule that
holds `IN_THE_END` is about an effect that follows its cause; it is pending for orders with events in flight.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, cast

from fanout.errors import FanoutError
from fanout.verify.records import Facts

SERVICES = Path(__file__).parents[2] / "services"
_TITLE = re.compile(r"^--\s*(check|fact|waiting):\s*(.*\S)\s*$")


class Holds(Enum):
    ALWAYS = "always"
    IN_THE_END = "in the end"


ALWAYS, IN_THE_END = Holds.ALWAYS, Holds.IN_THE_END


@dataclass(frozen=True, slots=True)
class Rule:
    """An order in all facts of `every` is in one of `has`, and in none of `lacks`."""

    sentence: str
    holds: Holds
    every: tuple[str, ...]
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`offenders` break the rule; `pending` are orders that may still fulfil it."""

    sentence: str
    offenders: Sequence[str] = ()
    pending: Sequence[str] = ()


DECIDED = ("orders.confirmed", "orders.cancelled")
PAID_OR_NOT = (
    *(f"payments.{end}" for end in ("authorized", "declined", "voided", "unpaid")),
    "orders.cancelled",
)
ANSWERED = ("inventory.reserved", "inventory.rejected", "inventory.released", "orders.cancelled")

RULES = (
    Rule(
        "a confirmed order has an authorized payment", ALWAYS, ("orders.confirmed",), ("payments.authorized",)
    ),
    Rule("a confirmed order holds its stock", ALWAYS, ("orders.confirmed",), ("inventory.reserved",)),
    Rule("a confirmed order is shipped", IN_THE_END, ("orders.confirmed",), ("fulfillment.shipped",)),
    Rule("a shipment has a confirmed order", ALWAYS, ("fulfillment.shipped",), ("orders.confirmed",)),
    Rule("an order called shipped has a shipment", ALWAYS, ("orders.shipped",), ("fulfillment.shipped",)),
    Rule("a shipment is known to its order", IN_THE_END, ("fulfillment.shipped",), ("orders.shipped",)),
    Rule("a refund has an authorized payment", ALWAYS, ("payments.refunded",), ("payments.authorized",)),
    Rule("a refund has a cancelled order", ALWAYS, ("payments.refunded",), ("orders.cancelled",)),
    Rule(
        "a cancelled order's payment is refunded",
        IN_THE_END,
        ("orders.cancelled", "payments.authorized"),
        ("payments.refunded",),
    ),
    Rule(
        "a cancelled order holds no stock", IN_THE_END, ("orders.cancelled",), lacks=("inventory.reserved",)
    ),
    Rule("a release has a cancelled order", ALWAYS, ("inventory.released",), ("orders.cancelled",)),
    Rule("a rejected order is not confirmed", ALWAYS, ("inventory.rejected",), lacks=("orders.confirmed",)),
    Rule("a rejected order is cancelled", IN_THE_END, ("inventory.rejected",), ("orders.cancelled",)),
    Rule(
        "an order with payment and stock is decided",
        IN_THE_END,
        ("payments.authorized", "inventory.reserved"),
        DECIDED,
    ),
    Rule("a declined order is cancelled", IN_THE_END, ("payments.declined",), ("orders.cancelled",)),
    Rule("a placed order has an answer about its stock", IN_THE_END, ("orders.placed",), ANSWERED),
    Rule("a placed order has an answer about its payment", IN_THE_END, ("orders.placed",), PAID_OR_NOT),
    Rule("a placed order is assessed", IN_THE_END, ("orders.placed",), ("fraud.assessed",)),
    Rule(
        "the confirmation of a counted order is counted",
        IN_THE_END,
        ("orders.confirmed", "analytics.placed"),
        ("analytics.confirmed",),
    ),
    Rule(
        "the shipment of a counted order is counted",
        IN_THE_END,
        ("fulfillment.shipped", "analytics.placed"),
        ("analytics.shipped",),
    ),
    Rule("a shipment that is counted was made", ALWAYS, ("analytics.shipped",), ("fulfillment.shipped",)),
)


def judge(rule: Rule, early: Facts, late: Facts, open_orders: set[str]) -> Verdict:
    """`early` and `late` are the facts of the two passes; `open_orders` have events in flight or parked."""
    unknown = [fact for fact in (*rule.every, *rule.has, *rule.lacks) if fact not in late]
    if unknown:
        return Verdict(rule.sentence, [f"no checks.sql has the fact {fact}" for fact in unknown])
    broken = sorted(_breaking(rule, early, late))
    if rule.holds is ALWAYS:
        return Verdict(rule.sentence, broken)
    offenders = [order for order in broken if order not in open_orders]
    return Verdict(rule.sentence, offenders, [order for order in broken if order in open_orders])


def _breaking(rule: Rule, early: Facts, late: Facts) -> Iterator[str]:
    for order in set.intersection(*(set(early[fact]) for fact in rule.every)):
        misses = rule.has and not any(order in late[fact] for fact in rule.has)
        if misses or any(order in late[fact] for fact in rule.lacks):
            yield order


@dataclass(frozen=True, slots=True)
class Query:
    """One block of a checks.sql. Its first column is an offending id, an order id, or a consumer that waits."""

    service: str
    kind: Literal["check", "fact", "waiting"]
    title: str
    sql: str

    @property
    def name(self) -> str:
        return f"{self.service}.{self.title}"


def discover(services: Path = SERVICES) -> list[Query]:
    """Returns the blocks of every service's checks.sql, services in alphabetical order."""
    files = sorted(services.glob("*/checks.sql"))
    return [query for file in files for query in parse(file.parent.name, file.read_text())]


def parse(service: str, text: str) -> list[Query]:
    queries = list(_blocks(service, text))
    if empty := [query.title for query in queries if not query.sql]:
        raise FanoutError(f"services/{service}/checks.sql: '{empty[0]}' has no SQL")
    names = [query.title for query in queries if query.kind == "fact"]
    if twice := [name for name in names if names.count(name) > 1]:
        raise FanoutError(f"services/{service}/checks.sql: there are two facts called '{twice[0]}'")
    return queries


def _blocks(service: str, text: str) -> Iterator[Query]:
    title: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*text.splitlines(), "-- check: end"]:
        found = _TITLE.match(line)
        if found is None:
            lines.append(line)
            continue
        sql = _statement(lines)
        if title is not None:
            yield Query(service, cast(Literal["check", "fact", "waiting"], title[1]), title[2], sql)
        elif sql:
            raise FanoutError(
                f"services/{service}/checks.sql: SQL before the first '-- check:', '-- fact:' or '-- waiting:'"
            )
        title, lines = found, []


def _statement(lines: list[str]) -> str:
    """Returns the SQL without comment lines, blank lines and the closing semicolon."""
    sql = [line for line in lines if line.strip() and not line.lstrip().startswith("--")]
    return "\n".join(sql).strip().removesuffix(";").rstrip()
