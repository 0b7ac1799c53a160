"""Rows of every table that retention deletes, each with its fate: what is over and old goes, what is open stays."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from chassis.database import Database
from chassis.purging import Retention, first_id
from chassis.retention import purge

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, YOUNG = NOON - timedelta(days=1), NOON + timedelta(days=1)


@dataclass(frozen=True)
class Rows:
    """The rows of one order or message. In `sql`, {id} is a UUIDv7 of OLD, and {old} and {young} are times."""

    name: str
    sql: str
    goes: dict[str, int] | None = None
    """How many rows of which table are deleted; None: all stay."""


def shipment(**columns: str) -> str:
    return insert("shipments", order_id="'{id}'", customer_id="'ada'", **columns)


def reservation(status: str, at: str) -> str:
    return insert("reservations", order_id="'{id}'", status=f"'{status}'", changed_at=at) + insert(
        "reservation_lines", order_id="'{id}'", product_id="'mug'", quantity="1"
    )


def message(**columns: str) -> str:
    return insert(
        "messages",
        order_id="'{id}'",
        customer_id="'ada'",
        kind="'order_placed'",
        body="''",
        created_at="{old}",
        **columns,
    )


def sighting(customer: str, at: str = "{old}", assessed: bool = True) -> str:
    id = "'{id}'" if at == "{old}" else "'{young_id}'"
    return (
        f"INSERT INTO customers VALUES ('{customer}') ON CONFLICT DO NOTHING; "
        + insert("orders_seen", order_id=id, customer_id=f"'{customer}'", placed_at=at)
        + insert("assessments", order_id=id, score="0", suspicious="false", rules="'{{}}'") * assessed
    )


def steps(**times: str) -> str:
    lines = insert("order_lines", order_id="'{id}'", product_id="'mug'", units="1", revenue_cents="100")
    sale = insert("sales", order_id="'{id}'", at="{old}", currency="'EUR'", revenue_cents="100")
    return (
        lines
        + sale * ("confirmed" in times)
        + "".join(insert("steps", order_id="'{id}'", step=f"'{step}'", at=at) for step, at in times.items())
    )


def dead_letter(status: str, *actions: tuple[str, str], last_failed_at: str = "{old}") -> str:
    letter = insert(
        "dead_letters",
        consumer="'fraud'",
        topic="'orders'",
        partition="0",
        kafka_offset="0",
        record_at="{old}",
        headers="'[]'",
        failure="'permanent'",
        error_type="'Bug'",
        error_message="''",
        attempts="1",
        first_failed_at="{old}",
        last_failed_at=last_failed_at,
        status=f"'{status}'",
        redrive="0",
    )
    newest = "(SELECT max(dead_letter_id) FROM dead_letters)"
    return letter + "".join(
        insert(
            "actions",
            dead_letter_id=newest,
            at=at,
            who="'ada'",
            what=f"'{what}'",
            why="'a test'",
            redrive="0",
        )
        for what, at in actions
    )


def parked(value: str = "''", event_id: str = "'{id}'", last_failed_at: str = "{old}") -> str:
    return insert(
        "parked",
        consumer="'any'",
        topic="'orders'",
        partition="0",
        kafka_offset="0",
        event_id=event_id,
        value=value,
        headers="'[]'",
        record_at="{old}",
        failure="'permanent'",
        error_type="'Bug'",
        error_message="''",
        attempts="1",
        first_failed_at="{old}",
        last_failed_at=last_failed_at,
    )


def receipt(status: str, redrive: int = 0, at: str = "{old}", id: str = "'{id}'") -> str:
    return insert(
        "inbox",
        consumer="'any'",
        event_id=id,
        status=f"'{status}'",
        redrive=str(redrive),
        received_at=at,
    )


def sent(**columns: str) -> str:
    return insert("outbox", event_id="'{id}'", topic="'any'", headers="'[]'", created_at="{old}", **columns)


def insert(table: str, **columns: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(columns.values())}); "


LARGE = "decode(repeat('00', 2000000), 'hex')"
RANDOM_ID = "'a6fb3c1e-0000-4000-8000-000000000000'"

OF_SERVICES: dict[str, Sequence[Rows]] = {
    "orders": [],
    "payments": [],
    "fulfillment": [
        Rows(
            "shipped", shipment(placed_at="{old}", confirmed_at="{old}", shipped_at="{old}"), {"shipments": 1}
        ),
        Rows("cancelled", shipment(placed_at="{old}", cancelled_at="{old}"), {"shipments": 1}),
        Rows("shipped lately", shipment(placed_at="{old}", confirmed_at="{young}", shipped_at="{young}")),
        Rows("not decided", shipment(placed_at="{old}")),
        Rows("cancelled, its order not received", shipment(cancelled_at="{old}")),
    ],
    "inventory": [
        Rows("released", reservation("released", "{old}"), {"reservations": 1, "reservation_lines": 1}),
        Rows("rejected", reservation("rejected", "{old}"), {"reservations": 1, "reservation_lines": 1}),
        Rows("released lately", reservation("released", "{young}")),
        Rows("reserved", reservation("reserved", "{old}")),
        Rows("void, its order not received", reservation("void", "{old}")),
    ],
    "notifications": [
        Rows("sent", message(sent_at="{old}"), {"messages": 1}),
        Rows("refused", message(refused_at="{old}"), {"messages": 1}),
        Rows("sent lately", message(sent_at="{young}")),
        Rows("not sent", message()),
    ],
    "fraud": [
        Rows("only order", sighting("ada"), {"orders_seen": 1, "assessments": 1, "customers": 1}),
        Rows(
            "earlier of two orders",
            sighting("ada") + sighting("ada", "{young}"),
            {"orders_seen": 1, "assessments": 1},
        ),
        Rows("not assessed", sighting("ada", assessed=False)),
    ],
    "analytics": [
        Rows(
            "shipped",
            steps(placed="{old}", paid="{old}", confirmed="{old}", shipped="{old}"),
            {"steps": 4, "order_lines": 1, "sales": 1},
        ),
        Rows("cancelled", steps(placed="{old}", cancelled="{old}"), {"steps": 2, "order_lines": 1}),
        Rows("shipped lately", steps(placed="{old}", confirmed="{old}", shipped="{young}")),
        Rows("not shipped", steps(placed="{old}", confirmed="{old}")),
        Rows("not decided", steps(placed="{old}")),
        Rows("shipped, its order not received", steps(shipped="{old}")),
    ],
    "dead_letters": [
        Rows(
            "discarded", dead_letter("discarded", ("discarded", "{old}")), {"dead_letters": 1, "actions": 1}
        ),
        Rows(
            "redriven, and again lately",
            dead_letter("redriven", ("redriven", "{old}"), ("redriven", "{young}")),
            {"dead_letters": 1, "actions": 2},
        ),
        Rows("parked", dead_letter("parked")),
        Rows("parked again", dead_letter("parked", ("redriven", "{old}"))),
        Rows("parked again lately", dead_letter("redriven", ("redriven", "{old}"), last_failed_at="{young}")),
        Rows("redriven", dead_letter("redriven", ("redriven", "{old}")), {"dead_letters": 1, "actions": 1}),
        Rows("redriven, not sent yet", dead_letter("redriven", ("redriven", "{old}")) + sent()),
        Rows("redriven lately", dead_letter("redriven", ("redriven", "{young}"))),
        Rows("discarded lately", dead_letter("discarded", ("redriven", "{old}"), ("discarded", "{young}"))),
    ],
}
REPETITIONS: Sequence[Rows] = [
    Rows("applied", receipt("applied"), {"inbox": 1}),
    Rows("applied, of another producer", receipt("applied", id=RANDOM_ID), {"inbox": 1}),
    Rows("applied lately", receipt("applied", at="{young}")),
    Rows("applied lately, of another producer", receipt("applied", at="{young}", id=RANDOM_ID)),
    Rows("parked", receipt("parked")),
    Rows("redriven", receipt("applied", redrive=1)),
    Rows("sent", sent(published_at="{old}"), {"outbox": 1}),
    Rows("discarded", sent(discarded_at="{old}"), {"outbox": 1}),
    Rows("sent lately", sent(published_at="{young}")),
    Rows("not sent", sent()),
    Rows(
        "answered",
        insert("idempotency_keys", principal="''", key="'{id}'", fingerprint="''", created_at="{old}"),
        {"idempotency_keys": 1},
    ),
    Rows(
        "answered lately",
        insert("idempotency_keys", principal="''", key="'{id}'", fingerprint="''", created_at="{young}"),
    ),
    Rows(
        "earlier of two terms",
        insert("relay_terms", term="1", renewed_at="{old}")
        + insert("relay_terms", term="2", renewed_at="{old}"),
        {"relay_terms": 1},
    ),
]
PARKED: Sequence[Rows] = [
    Rows("parked", parked() + receipt("parked"), {"parked": 1, "inbox": 1}),
    Rows("redriven", parked() + receipt("applied", redrive=1), {"parked": 1, "inbox": 1}),
    Rows("unreadable", parked(event_id="NULL"), {"parked": 1}),
    Rows("parked lately", parked(last_failed_at="{young}") + receipt("parked", at="{young}")),
    Rows("large, applied lately", parked(LARGE) + receipt("applied", 1, "{young}"), {"parked": 1}),
    Rows("large, applied never", parked(LARGE, event_id="NULL")),
]


async def wrong_fates(
    owner: Database, worker: Database, retentions: Sequence[Retention], rows: Iterable[Rows]
) -> list[tuple[str, dict[str, int]]]:
    """Purges each of the rows alone; returns the names of those with another fate, and what was deleted of them."""
    wrong = []
    for each in rows:
        await store(owner, each)
        deleted = await purge(worker, NOON, asyncio.Event(), retentions)
        if deleted != (each.goes or {}):
            wrong.append((each.name, deleted))
        await empty(owner)
    return wrong


async def store(database: Database, rows: Rows) -> None:
    values = {
        "id": first_id(OLD),
        "young_id": first_id(YOUNG),
        "old": f"CAST('{OLD.isoformat()}' AS timestamptz)",
        "young": f"CAST('{YOUNG.isoformat()}' AS timestamptz)",
    }
    async with database.transaction() as db:
        for statement in rows.sql.format(**values).split("; "):
            if statement.strip():
                await db.execute(text(statement.replace(":", r"\:")))


async def empty(database: Database) -> None:
    async with database.transaction() as db:
        tables = (await db.execute(text(TABLES))).scalars().all()
        await db.execute(text(f"TRUNCATE {', '.join(tables)}"))


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
