"""What must hold across services, as rules over the facts of their checks.sql files; and the reader of those files.

A service's checks.sql holds blocks of SQL: `-- check:` selects what is wrong, `-- fact:` the orders of which
something is so, `-- waiting:` what waits for an operator.

The two sides of a rule are read one after the other while orders go on, the left side first. A rule that holds
`always` needs no pause: a cause that was there before its effect is still there when it is read later. A rule that
holds `in_the_end` is about an effect that follows its cause; it is pending for orders with events in flight.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, cast

from fanout.errors import FanoutError

T = TypeVar("T")

SERVICES = Path(__file__).parents[2] / "services"
CHASSIS_CHECKS = SERVICES.parent / "chassis" / "checks.sql"
_TITLE = re.compile(r"^--\s*(check|fact|waiting):\s*(.*\S)\s*$")


@dataclass(frozen=True, slots=True)
class Rule:
    """An order in all facts of `every` is in one of `has`, and in none of `lacks`."""

    sentence: str
    every: Sequence[str]
    has: Sequence[str] = ()
    lacks: Sequence[str] = ()
    may_be_pending: bool = False


def always(sentence: str, every: str, has: str = "", lacks: str = "") -> Rule:
    """Facts are separated by spaces."""
    return Rule(sentence, every.split(), has.split(), lacks.split())


def in_the_end(sentence: str, every: str, has: str = "", lacks: str = "") -> Rule:
    return Rule(sentence, every.split(), has.split(), lacks.split(), may_be_pending=True)


DECIDED = "orders.confirmed orders.cancelled"
PAID_OR_NOT = "payments.authorized payments.declined payments.voided payments.unpaid orders.cancelled"
STOCK_ANSWERS = "inventory.reserved inventory.rejected inventory.released orders.cancelled"

RULES = (
    always("a confirmed order has an authorized payment", "orders.confirmed", has="payments.authorized"),
    always("a confirmed order holds its stock", "orders.confirmed", has="inventory.reserved"),
    in_the_end("a confirmed order is shipped", "orders.confirmed", has="fulfillment.shipped"),
    always("a shipment has a confirmed order", "fulfillment.shipped", has="orders.confirmed"),
    always("an order called shipped has a shipment", "orders.shipped", has="fulfillment.shipped"),
    in_the_end("a shipment is known to its order", "fulfillment.shipped", has="orders.shipped"),
    always("a refund has an authorized payment", "payments.refunded", has="payments.authorized"),
    always("a refund has a cancelled order", "payments.refunded", has="orders.cancelled"),
    in_the_end(
        "a cancelled order's payment is refunded",
        "orders.cancelled payments.authorized",
        has="payments.refunded",
    ),
    in_the_end("a cancelled order holds no stock", "orders.cancelled", lacks="inventory.reserved"),
    always("a release has a cancelled order", "inventory.released", has="orders.cancelled"),
    always("a rejected order is not confirmed", "inventory.rejected", lacks="orders.confirmed"),
    in_the_end("a rejected order is cancelled", "inventory.rejected", has="orders.cancelled"),
    in_the_end(
        "an order with payment and stock is decided", "payments.authorized inventory.reserved", has=DECIDED
    ),
    in_the_end("a declined order is cancelled", "payments.declined", has="orders.cancelled"),
    in_the_end("a placed order has an answer about its stock", "orders.placed", has=STOCK_ANSWERS),
    in_the_end("a placed order has an answer about its payment", "orders.placed", has=PAID_OR_NOT),
    in_the_end("a placed order is assessed", "orders.placed", has="fraud.assessed"),
    in_the_end(
        "the confirmation of a counted order is counted",
        "orders.confirmed analytics.placed",
        has="analytics.confirmed",
    ),
    in_the_end(
        "the shipment of a counted order is counted",
        "fulfillment.shipped analytics.placed",
        has="analytics.shipped",
    ),
    always("a shipment that is counted was made", "analytics.shipped", has="fulfillment.shipped"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`offenders` break the rule, and `unlisted` more; `pending` are orders that may still fulfil it."""

    sentence: str
    offenders: Sequence[str] = ()
    pending: Sequence[str] = ()
    unlisted: int = 0

    @property
    def offending(self) -> int:
        return len(self.offenders) + self.unlisted


def breaking(rule: Rule, early: Mapping[str, Iterable[T]], late: Mapping[str, Container[T]]) -> Iterator[T]:
    """Yields orders, or hashes of them, that break the rule. `early` and `late`: the facts of the two passes."""
    for order in set.intersection(*(set(early[fact]) for fact in rule.every)):
        misses = rule.has and not any(order in late[fact] for fact in rule.has)
        if misses or any(order in late[fact] for fact in rule.lacks):
            yield order


def missing_facts(rule: Rule, facts: Container[str]) -> list[str]:
    """Returns a sentence for each fact of the rule that is not among these."""
    wanted = (*rule.every, *rule.has, *rule.lacks)
    return [f"no checks.sql has the fact {fact}" for fact in wanted if fact not in facts]


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


def of_kind(kind: str, queries: Iterable[Query]) -> list[Query]:
    return [query for query in queries if query.kind == kind]


def discover(services: Path = SERVICES) -> list[Query]:
    """Returns the blocks of every service's checks.sql, and those of the chassis for each of these services."""
    common = CHASSIS_CHECKS.read_text()
    return [
        query
        for file in sorted(services.glob("*/checks.sql"))
        for query in parse(file.parent.name, f"{file.read_text()}\n{common}")
    ]


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
