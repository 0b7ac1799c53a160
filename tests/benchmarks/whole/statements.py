"""How many statements Postgres is given for each thing the system does, by its own log (`log_statement`).

BEGIN, COMMIT and NOTIFY count; a statement that is executed for many rows in one round trip counts once for each row.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from fanout.load import payment_body
from fanout.local.stack_directory import current
from fanout.tokens import bearer, signer
from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.row import Figures, Row

PREFIX = "%p|%d|%a|"
SETTINGS = {"log_statement": "all", "log_line_prefix": PREFIX, "log_parameter_max_length": "0"}
LINE = re.compile(r"^(\d+)\|(\w+)\|([^|]*)\|LOG:  (?:statement|execute [^:]*): (.*)$")
INVOICE: dict[str, Any] = {
    "currency": "EUR",
    "payment_method": "invoice",
    "lines": [{"product_id": "mug", "quantity": 1}],
}
CARD = INVOICE | {"payment_method": "card", "card_token": "tok_visa"}
ORDERS, ORDERS_PER_SECOND = 200, 20


@dataclass(frozen=True)
class Statement:
    session: str
    database: str
    application: str
    text: str

    def by_api_of(self, service: str) -> bool:
        mine = not re.search("-worker|-relay|^benchmark", self.application)
        return mine and self.database == service


@dataclass
class Log:
    """Postgres's log since the last look."""

    db: asyncpg.Connection
    offset: int = 0

    async def since(self) -> list[Statement]:
        """All that was given to Postgres before this call."""
        mark = f"SELECT '{uuid4().hex}'"
        await self.db.execute(mark)
        file = current().logs / "postgres.log"
        while mark not in (text := file.read_text(errors="replace")[self.offset :]):
            await asyncio.sleep(0.05)
        end = text.index(mark)
        self.offset += end + len(mark)
        whole = re.sub(r"\n[ \t]+", " ", text[:end])
        return [Statement(*match.groups()) for line in whole.splitlines() if (match := LINE.match(line))]


async def count(ground: Ground) -> Figures:
    async with ground.connect("orders", superuser=True) as db, logged(db) as log, customer(ground) as http:
        orders = f"{ground.addresses.apis['orders']}/orders"
        figures: Figures = {}
        for name in ("post", "cancel", "payment"):
            # The first of each also prepares statements and opens connections.
            for _ in range(2):
                order = None if name == "post" else await posted(http, orders, INVOICE)
                if name == "payment" and order:
                    await known_to_payments(ground, order["order_id"])
                await log.since()
                if order is None:
                    await posted(http, orders, CARD)
                elif name == "cancel":
                    await posted(http, f"{orders}/{order['order_id']}/cancel", None)
                else:
                    await posted(http, f"{ground.addresses.apis['payments']}/payments", payment_body(order))
                await asyncio.sleep(0.2)
                service = "payments" if name == "payment" else "orders"
                seen = [statement for statement in await log.since() if statement.by_api_of(service)]
            show(ground, name, seen)
            figures[name] = len(seen)
        first = first_id()
        await log.since()
        offered = await ground.post(ORDERS_PER_SECOND, ground.scaled(ORDERS))
        await ground.settled(first, offered.accepted)
        await ground.mailed()
        return figures | of_many(ground, await log.since(), offered.accepted)


def customer(ground: Ground) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, headers=bearer(signer(ground.addresses).customer("statements")))


@asynccontextmanager
async def logged(db: asyncpg.Connection) -> AsyncIterator[Log]:
    for name, value in SETTINGS.items():
        await db.execute(f"ALTER SYSTEM SET {name} = '{value}'")
    await db.execute("SELECT pg_reload_conf()")
    try:
        # Reloaded by each session in its own time.
        await asyncio.sleep(1)
        log = Log(db)
        await log.since()
        yield log
    finally:
        for name in SETTINGS:
            await db.execute(f"ALTER SYSTEM RESET {name}")
        await db.execute("SELECT pg_reload_conf()")


async def posted(http: httpx.AsyncClient, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
    answer = await http.post(url, json=body, headers={"Idempotency-Key": uuid4().hex})
    answer.raise_for_status()
    return dict(answer.json())


async def known_to_payments(ground: Ground, order_id: str) -> None:
    known = "SELECT count(*) FROM payments WHERE order_id = $1 AND payment_method IS NOT NULL"
    await ground.counted("payments", known, order_id, 1, 0.05)


def of_many(ground: Ground, seen: Sequence[Statement], orders: int) -> Figures:
    """Per transaction and turn, and for an order all in all, at a low rate."""
    ours = [statement for statement in seen if not statement.application.startswith("benchmark")]
    consumed = [unit for unit in transactions(ours) if any("INTO inbox" in s.text for s in unit)]
    turns = relay_turns(ours)
    for name, units in (("one consumer transaction", consumed), ("one relay turn", turns)):
        if units:
            show(ground, name, sorted(units, key=len)[len(units) // 2])
    by_database = Counter(statement.database for statement in ours)
    each = ", ".join(f"{name} {found / orders:.1f}" for name, found in by_database.most_common())
    ground.note(f"statements an order at {ORDERS_PER_SECOND}/s, idle polls included: {each}")
    return {
        "consumer": _mean(consumed),
        "relay": _mean(turns),
        "consumer_transactions": len(consumed) / orders,
        "relay_turns": len(turns) / orders,
        "order": len(ours) / orders,
    }


def transactions(seen: Sequence[Statement]) -> list[list[Statement]]:
    """From BEGIN to COMMIT or ROLLBACK, by session."""
    open: dict[str, list[Statement]] = {}
    found = []
    for statement in seen:
        word = statement.text.split(" ", 1)[0].rstrip(";").upper()
        if word == "BEGIN":
            open[statement.session] = [statement]
        elif statement.session in open:
            open[statement.session].append(statement)
            if word in ("COMMIT", "ROLLBACK"):
                found.append(open.pop(statement.session))
    return found


def relay_turns(seen: Sequence[Statement]) -> list[list[Statement]]:
    """From one look at the outbox to the next; a look that found nothing is no turn."""
    turns: dict[str, list[list[Statement]]] = {}
    for statement in seen:
        if "-relay" in statement.application:
            looks = re.search(r"SELECT.*FROM outbox", statement.text) and "UPDATE" not in statement.text
            sessions = turns.setdefault(statement.session, [])
            if looks or not sessions:
                sessions.append([])
            sessions[-1].append(statement)
    return [turn for sessions in turns.values() for turn in sessions if len(turn) > 1]


def show(ground: Ground, name: str, statements: Sequence[Statement]) -> None:
    ground.note(f"{name}: {len(statements)} statements")
    for statement in statements:
        ground.note(f"    {statement.database}: {' '.join(statement.text.split())[:100]}")


def _mean(units: Sequence[Sequence[Statement]]) -> float:
    return sum(map(len, units)) / len(units) if units else 0.0


ROWS = [
    Row(
        "statements",
        "statements of a POST, a cancel, a payment, one consumer transaction, one relay turn; of an order at 20/s",
        "print them",
        "{post:.0f}, {cancel:.0f}, {payment:.0f}, {consumer:.1f}, {relay:.1f}; {order:.0f} in all, in "
        "{consumer_transactions:.1f} consumer transactions and {relay_turns:.1f} relay turns",
        count,
    )
]
