"""Sales and the funnel are shown over HTTP by event time, whatever the order of arrival."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from chassis.database import Database
from services.analytics.api import app
from services.analytics.service import service as analytics
from tests.integration.conftest import NewDatabase
from tests.support import sample_events
from tests.support.principals import OPERATOR, client_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 24 * 60
NOTHING = {"paid": 0, "declined": 0, "confirmed": 0, "shipped": 0, "cancelled": 0}


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("analytics")
    app.state.database = database
    yield database
    assert not await sample_events.broken_checks("analytics", database)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, OPERATOR) as client:
        yield client


async def sold(database: Database, order_id: str, lines: dict[str, int], second: float) -> None:
    """Worth 10.00 EUR; its confirmation arrives before it."""
    total = 1000 // sum(lines.values())
    placed = sample_events.order_placed(order_id, lines, second - 1, unit_price_cents=total)
    await sample_events.deliver(database, analytics, sample_events.order_confirmed(order_id, second), placed)


async def asked(client: httpx.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    answer = await client.get(path, params={"since": NOON.isoformat()} | query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def at(minutes: float = 0) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


async def test_sales_are_counted_by_the_minute_of_their_confirmation(
    database: Database, client: httpx.AsyncClient
) -> None:
    for order_id, second in (("late", 185), ("a", 3), ("b", 59.999), ("c", 60)):
        await sold(database, order_id, {"mug": 1}, second)
    answer = await asked(client, "/sales")
    minutes = [(minute["minute"], minute["orders"], minute["revenue_cents"]) for minute in answer["minutes"]]
    assert minutes == [(at(0), 2, 2000), (at(1), 1, 1000), (at(3), 1, 1000)]
    assert {minute["currency"] for minute in answer["minutes"]} == {"EUR"}


async def test_the_products_that_sold_most_units_come_first(
    database: Database, client: httpx.AsyncClient
) -> None:
    await sold(database, "a", {"mug": 2}, 10)
    await sold(database, "b", {"pen": 4, "mug": 1}, 20)
    await sold(database, "c", {"lamp": 1}, 30)
    products = (await asked(client, "/sales"))["top_products"]
    found = [(product["product_id"], product["units"], product["revenue_cents"]) for product in products]
    assert found == [("pen", 4, 800), ("mug", 3, 1200), ("lamp", 1, 1000)]
    assert (await asked(client, "/sales", top=1))["top_products"] == products[:1]


async def test_an_order_that_is_not_confirmed_is_no_sale(
    database: Database, client: httpx.AsyncClient
) -> None:
    placed, cancelled = sample_events.order_placed("a"), sample_events.order_cancelled("a")
    await sample_events.deliver(database, analytics, placed, cancelled)
    answer = await asked(client, "/sales")
    assert (answer["minutes"], answer["top_products"]) == ([], [])


async def test_only_sales_in_the_requested_span_count_without_its_end(
    database: Database, client: httpx.AsyncClient
) -> None:
    for order_id, second in (("before", -0.001), ("first", 0), ("last", 119.999), ("after", 120)):
        await sold(database, order_id, {order_id: 1}, second)
    answer = await asked(client, "/sales", until=at(2))
    assert [minute["minute"] for minute in answer["minutes"]] == [at(0), at(1)]
    assert {product["product_id"] for product in answer["top_products"]} == {"first", "last"}
    assert (answer["since"], answer["until"]) == (at(0), at(2))


async def test_timestamps_in_another_zone_are_the_same_timestamps(
    database: Database, client: httpx.AsyncClient
) -> None:
    await sold(database, "a", {"mug": 1}, 10)
    answer = await asked(client, "/sales", since="2026-03-01T14:00:00+02:00")
    assert (answer["since"], len(answer["minutes"])) == (at(0), 1)


async def test_the_funnel_counts_how_far_the_orders_of_that_span_came_by_now(
    database: Database, client: httpx.AsyncClient
) -> None:
    far_later = 86_400 * 3
    await sample_events.deliver(
        database,
        analytics,
        *(sample_events.order_placed(order_id, second=5) for order_id in "abcd"),
        sample_events.order_placed("earlier", second=-60),
        *(sample_events.payment_processed(order_id) for order_id in ("a", "b", "earlier")),
        sample_events.payment_processed("c", "declined"),
        *(sample_events.order_confirmed(order_id) for order_id in ("a", "earlier")),
        sample_events.order_shipped("a", far_later),
        *(sample_events.order_cancelled(order_id) for order_id in "bc"),
    )
    answer = await asked(client, "/funnel", until=at(1))
    counted = {"placed": 4, "paid": 2, "declined": 1, "confirmed": 1, "shipped": 1, "cancelled": 2}
    assert answer == counted | {"since": at(0), "until": at(1)}


async def test_a_step_before_its_order_waits_for_it(database: Database, client: httpx.AsyncClient) -> None:
    await sample_events.deliver(
        database, analytics, sample_events.order_shipped("a"), sample_events.payment_processed("a")
    )
    assert {name: (await asked(client, "/funnel"))[name] for name in NOTHING} == NOTHING
    await sample_events.deliver(database, analytics, sample_events.order_placed("a"))
    answer = await asked(client, "/funnel")
    assert (answer["placed"], answer["paid"], answer["shipped"], answer["confirmed"]) == (1, 1, 1, 0)


async def test_the_default_span_is_the_last_day(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/funnel")).json()
    age = datetime.now(UTC) - datetime.fromisoformat(answer["since"])
    assert timedelta(days=1) <= age < timedelta(days=1, minutes=1) and answer["until"] is None
    answer = (await client.get("/funnel", params={"until": at(0)})).json()
    assert (answer["since"], answer["until"]) == (at(-DAY), at(0))


@pytest.mark.parametrize("path", ["/sales", "/funnel"])
async def test_a_span_is_a_day_at_most_and_the_next_one_begins_where_it_ended(
    client: httpx.AsyncClient, path: str
) -> None:
    whole = (await client.get(path, params={"since": at(-DAY), "until": at()})).json()
    alone = (await client.get(path, params={"since": at(-DAY)})).json()
    assert (alone["since"], alone["until"]) == (whole["since"], whole["until"]) == (at(-DAY), at())
    refusal = await client.get(path, params={"since": at(-DAY), "until": at(0.01)})
    assert (refusal.status_code, [error["field"] for error in refusal.json()["errors"]]) == (422, ["until"])
    assert "must be at most one day after since" in refusal.json()["detail"]
    today = (datetime.now(UTC) - timedelta(hours=23)).isoformat()
    assert (await client.get(path, params={"since": today})).json()["until"] is None


@pytest.mark.parametrize("path", ["/sales", "/funnel"])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-03-01T12:00:00"}, "since"),
        ({"until": "0001-01-01T00:00:00Z"}, "until"),
        ({"until": "9999-12-31T23:59:59-12:00"}, "until"),
        ({"since": at(5), "until": at(5)}, "until"),
        ({"since": at(5), "until": at(4)}, "until"),
    ],
)
async def test_an_invalid_timestamp_is_refused_with_the_name_of_the_field(
    client: httpx.AsyncClient, path: str, query: dict[str, str], field: str
) -> None:
    refusal = await client.get(path, params=query)
    assert refusal.headers["content-type"] == "application/problem+json"
    assert (refusal.status_code, [error["field"] for error in refusal.json()["errors"]]) == (422, [field])


@pytest.mark.parametrize("top", ["0", "101", "-1", "many"])
async def test_an_invalid_number_of_products_is_refused(client: httpx.AsyncClient, top: str) -> None:
    refusal = await client.get("/sales", params={"top": top})
    assert (refusal.status_code, [error["field"] for error in refusal.json()["errors"]]) == (422, ["top"])
