"""What the exporter reads in databases: with its own login, and orders that are judged by when they were decided."""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy.engine import URL

from chassis.database import Database
from fanout.errors import FanoutError
from fanout.lag.business import DEAD_LETTERS, JUDGE, LETTERS, ORDERS, REDRIVES, Orders
from fanout.lag.grants import grants
from fanout.lag.services import ServiceDatabases
from fanout.replay.state import locked
from fanout.repository import services
from tests.integration.conftest import NewDatabase

PASSWORD = "exporter"
REFUSED = (
    "SELECT payload FROM outbox",
    "SELECT * FROM inbox",
    "SELECT * FROM parked",
    "UPDATE consumer_offsets SET next_offset = 0",
    "DELETE FROM held_partitions",
)


@pytest.fixture
async def login() -> AsyncIterator[str]:
    """The name of a login; what it owns and the login itself are dropped by whoever created it."""
    yield f"test_exporter_{os.getpid()}"


def url_of(database: Database, login: str | None = None) -> str:
    url: URL = database.engine.url.set(username=login, password=PASSWORD) if login else database.engine.url
    return url.render_as_string(hide_password=False)


@pytest.mark.parametrize("service", services())
async def test_the_exporters_login_may_read_its_figures_and_nothing_else(
    service: str, new_database: NewDatabase, login: str
) -> None:
    owned = await new_database(service)
    await run(owned, f"CREATE ROLE {login} LOGIN PASSWORD '{PASSWORD}'", *grants(service, login))
    mine = ServiceDatabases({service: url_of(owned, login)})
    try:
        assert (await mine.facts(service)).service == service
        if service == ORDERS:
            await Orders(mine).figures()
        for statement in (LETTERS, REDRIVES) if service == DEAD_LETTERS else ():
            await mine.rows(service, statement)
        for statement in REFUSED:
            with pytest.raises(FanoutError, match=r"permission denied|read-only"):
                await mine.rows(service, statement)
    finally:
        mine.close()
        await run(owned, f"DROP OWNED BY {login}", f"DROP ROLE {login}")


async def test_also_an_owner_changes_nothing_through_the_exporters_connection(
    new_database: NewDatabase,
) -> None:
    owned = await new_database("fraud")
    mine = ServiceDatabases({"fraud": url_of(owned)})
    with pytest.raises(FanoutError, match="read-only"):
        await mine.rows("fraud", "DELETE FROM held_partitions")
    mine.close()


async def test_an_order_counts_once_by_when_it_was_decided(new_database: NewDatabase) -> None:
    owned = await new_database("orders")
    now = datetime.now(UTC)
    due = last_of_its_ids(now - timedelta(seconds=35))
    for at, decided_after, method in (
        (due, 29.0, "card"),
        (due, 31.0, "card"),
        (due, None, "card"),
        (due, None, "invoice"),
        (now - timedelta(seconds=20), 1.0, "card"),
        (due - timedelta(seconds=100), 1.0, "card"),
    ):
        await place(owned, at, decided_after, method)
    mine = ServiceDatabases({"orders": url_of(owned)})
    [found] = await mine.rows("orders", JUDGE, due - timedelta(seconds=1))
    [again] = await mine.rows("orders", JUDGE, found["until"])
    mine.close()
    assert (found["judged"], found["settled"]) == (3, 1)
    assert 35 <= found["oldest_unsettled_seconds"] < 120
    assert again["judged"] == 0


def last_of_its_ids(at: datetime) -> datetime:
    """Returns the last time before `at` after which the first eight digits of a UUIDv7 change, every 65 s."""
    return datetime.fromtimestamp((round(at.timestamp() * 1000) // 2**16 * 2**16 - 1) / 1000, UTC)


async def test_a_running_replay_is_seen(new_database: NewDatabase) -> None:
    owned = await new_database("analytics")
    mine = ServiceDatabases({"analytics": url_of(owned)})
    before = await mine.facts("analytics")
    async with locked("analytics", url_of(owned)):
        during = await mine.facts("analytics")
    mine.close()
    assert (before.is_replaying, during.is_replaying) == (False, True)


async def test_the_rows_to_send_are_counted_up_to_a_limit_and_the_oldest_has_an_age(
    new_database: NewDatabase,
) -> None:
    owned = await new_database("orders")
    for _ in range(3):
        await place(owned, datetime.now(UTC) - timedelta(seconds=50), 20.0, "card")
    mine = ServiceDatabases({"orders": url_of(owned)})
    limited, all_of_them = await mine.facts("orders", 2), await mine.facts("orders")
    mine.close()
    assert (limited.outbox.unsent, all_of_them.outbox.unsent, all_of_them.outbox.set_aside) == (2, 3, 0)
    assert all_of_them.outbox.oldest_seconds is not None and 29 < all_of_them.outbox.oldest_seconds < 60


async def place(owned: Database, at: datetime, decided_after: float | None, method: str) -> None:
    """Stores an order and, `decided_after` seconds later, the outbox row that says that it was confirmed."""
    hexadecimal = f"{round(at.timestamp() * 1000):012x}"
    order_id = f"{hexadecimal[:8]}-{hexadecimal[8:]}-7{str(uuid4())[15:]}"
    status = "placed" if decided_after is None else "confirmed"
    await run(
        owned,
        f"""INSERT INTO orders (order_id, customer_id, currency, total_cents, payment_method, status, version,
            payment, payment_version, stock, stock_version, placed_at, decided_at)
        VALUES ('{order_id}', 'c', 'EUR', 100, '{method}', '{status}', 1, 'pending', 0, 'pending', 0,
            '{at.isoformat()}', '{at.isoformat()}')""",
    )
    if decided_after is not None:
        decided = at + timedelta(seconds=decided_after)
        await run(
            owned,
            f"""INSERT INTO outbox (event_id, topic, type, aggregate_id, aggregate_version, headers, created_at)
            VALUES ('{uuid4()}', 'orders', 'OrderConfirmed', '{order_id}', 2, '[]', '{decided.isoformat()}')""",
        )


async def run(database: Database, *statements: str) -> None:
    async with database.engine.begin() as db:
        for statement in statements:
            await db.exec_driver_sql(statement)
