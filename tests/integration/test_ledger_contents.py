"""The ledger compares contents: an honest system of every kind of order holds, and each change of a row is seen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import zip_longest
from typing import Any

import pytest
from fastavro import schemaless_writer
from sqlalchemy.engine import URL
from uuid_utils.compat import uuid7

from chassis.outbox.publish import publish
from fanout.verify.contents import comparison
from fanout.verify.invariants import Verdict, discover
from schemas import EVENTS
from schemas.files import parsed_schema
from services.notifications.domain import DECIMALS
from tests.support import sample_events
from tests.support.corruptions import CORRUPTIONS
from tests.support.planted_contents import (
    FIELDS,
    OF_OUTBOXES,
    OF_TABLES,
    OUTBOX_CHECK,
    READABLE,
    SEEN,
    Altered,
    Planted,
)
from tests.support.simulated_system import (
    HOLDS,
    SERVICES,
    Honest,
    SimulatedSystem,
    copy,
    drop,
    event_of,
    simulated_at,
)
from tests.support.varied_orders import add_varied_orders

Changed = Callable[..., Awaitable[SimulatedSystem]]
CHECKS = discover()
TOGETHER = [
    *([change for change in changes if change] for changes in zip_longest(*OF_TABLES)),
    *([change] for change in OF_OUTBOXES),
]
"""A change in the tables of one service is not seen by the checks of another, so one of each is planted at once."""


@pytest.fixture(scope="module")
def varied(honest: Honest, postgres_url: URL) -> Iterator[Honest]:
    """The honest system with more orders: late, corrected, poisoned, cancelled before they arrived."""

    async def make() -> Honest:
        names = await copy(postgres_url, honest.names, "varied")
        simulated = simulated_at(postgres_url, names, honest.offsets)
        orders = await add_varied_orders(simulated)
        await simulated.close()
        return Honest(names, simulated.offsets, {**honest.orders, **orders})

    made = asyncio.run(make())
    yield made
    asyncio.run(drop(postgres_url, made.names.values()))


@pytest.fixture
async def changed(varied: Honest, postgres_url: URL) -> AsyncIterator[Changed]:
    """`await changed("payments")` is the varied system, of which these services may be changed."""
    made: list[tuple[SimulatedSystem, Mapping[str, str]]] = []

    async def make(*services: str) -> SimulatedSystem:
        chosen = {service: varied.names[service] for service in services}
        names = await copy(postgres_url, chosen, f"changed_{len(made)}")
        simulated = simulated_at(postgres_url, {**varied.names, **names}, varied.offsets)
        made.append((simulated, names))
        return simulated

    yield make
    for simulated, names in made:
        await simulated.close()
        await drop(postgres_url, names.values())


async def violated(simulated: SimulatedSystem, sentence: str = READABLE) -> Mapping[str, Verdict]:
    """Runs the checks of the service that the sentence is of, or all."""
    service = sentence.partition(":")[0]
    wanted = [check for check in CHECKS if sentence == READABLE or check.service == service]
    verdicts = await comparison.verdicts(simulated.urls, wanted)
    return {verdict.sentence: verdict for verdict in verdicts if verdict.offenders}


def is_named(found: Mapping[str, Verdict], sentence: str, order: str) -> bool:
    named = [offender for each in found if each.startswith(sentence) for offender in found[each].offenders]
    return any(order in offender for offender in named)


async def test_a_system_with_orders_of_every_kind_holds(varied: Honest, postgres_url: URL) -> None:
    simulated = simulated_at(postgres_url, varied.names, varied.offsets)
    assert await violated(simulated) == {}
    assert (await simulated.audit()).conclusion == HOLDS
    await simulated.close()


@pytest.mark.parametrize("together", TOGETHER, ids=lambda together: "; ".join(each.name for each in together))
async def test_what_is_changed_in_a_database_is_seen_and_named(
    changed: Changed, varied: Honest, together: Sequence[Planted]
) -> None:
    simulated = await changed(*(planted.service for planted in together))
    for planted in together:
        await simulated.run(planted.service, planted.sql.format(**varied.orders))
    found = await violated(simulated)
    for planted in together:
        assert is_named(found, planted.violated, planted.named.format(**varied.orders)), planted


@pytest.mark.parametrize("altered", FIELDS, ids=lambda altered: f"{altered.event_type}.{altered.field}")
async def test_an_altered_field_of_a_published_event_is_seen_and_named(
    changed: Changed, varied: Honest, altered: Altered
) -> None:
    simulated, order = await changed(altered.service), varied.orders[altered.order]
    where = f"WHERE aggregate_id = '{order}' AND type = '{altered.event_type}'"
    [row] = await simulated.run(altered.service, f"SELECT type, payload FROM outbox {where}")
    payload = with_another(altered.field, event_of(row).to_record(), altered.event_type)
    await simulated.run(altered.service, f"UPDATE outbox SET payload = '\\x{payload.hex()}' {where}")
    found = await violated(simulated, altered.violated)
    assert is_named(found, altered.violated, order), found


async def test_a_message_names_its_amount_in_every_currency_as_the_check_expects(changed: Changed) -> None:
    simulated = await changed(*SERVICES)
    async with simulated.databases["orders"].transaction() as db:
        for currency in ("EUR", *DECIMALS):
            order = sample_events.order_placed(str(uuid7()), {"mug": 7})
            await publish(db, [replace(order, currency=currency, total_cents=10_005)])
    await simulated.collect("orders")
    assert await violated(simulated, "notifications:") == {}


async def test_an_order_with_an_event_of_a_newer_release_is_left_out(
    changed: Changed, varied: Honest
) -> None:
    simulated, order = await changed("orders", "analytics"), varied.orders["shipped"]
    await simulated.run(
        "orders",
        f"UPDATE outbox SET schema_version = 99, payload = payload || '\\x00' WHERE aggregate_id = '{order}' "
        "AND type = 'OrderConfirmed'",
    )
    assert await violated(simulated) == {}
    await simulated.run("analytics", "DELETE FROM sales")
    [sales] = [found for name, found in (await violated(simulated)).items() if "each sale is the one" in name]
    assert varied.orders["paid"] in sales.offenders
    assert order not in sales.offenders


def test_every_check_has_a_change_that_it_sees() -> None:
    """Checks without events are in tests/support/corruptions.py."""
    sentences = {f"{check.service}: {check.title}" for check in CHECKS if check.kind == "check"}
    unseen = {sentence for sentence in sentences if not sentence.startswith(SEEN)}
    assert {each for each in unseen if each not in CORRUPTIONS and OUTBOX_CHECK not in each} == set()


def with_another(field: str, record: dict[str, Any], event_type: str) -> bytes:
    """Returns the event's bytes with another value in this field."""
    schema = parsed_schema(next(each for each in EVENTS if event_type == each.NAME))
    record[field] = another(field, record[field])
    payload = BytesIO()
    schemaless_writer(payload, schema, record)
    return payload.getvalue()


def another(field: str, value: Any) -> Any:
    known = {
        "payment_method": "invoice",
        "outcome": "declined",
        "reason": "out_of_stock",
        "rules": ["large_amount"],
        "shortages": [],
        "card_token": "tok_declined",
        "decline_reason": "card_declined",
    }
    if field in known:
        assert known[field] != value
        return known[field]
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return f"{value}0"
        case list():
            return [{**item, "quantity": item["quantity"] + 1} for item in value]
    raise AssertionError(f"no other value for {field}")
