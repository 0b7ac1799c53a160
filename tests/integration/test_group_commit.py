"""Requests share a transaction: each gets its own answer, and a failing member does not fail the others."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.http.app import create_api
from chassis.http.group_commit import LARGEST_GROUP, GroupCommit, Overloaded
from chassis.http.idempotency import Idempotent, share_transactions
from chassis.http.idempotency_keys import idempotency_keys
from chassis.outbox.publish import publish
from chassis.outbox.table import outbox
from chassis.service import Service
from fanout.tokens import bearer
from schemas import OrderConfirmed
from tests.integration.conftest import NewDatabase
from tests.support.principals import SIGNER, SOME_CUSTOMER, client_of

service = Service("fraud", MetaData())
notes = Table(
    "notes",
    service.metadata,
    Column("new_id", Text, primary_key=True),
    Column("amount", Integer, CheckConstraint("amount > 0"), nullable=False),
)
app = create_api(service)
groups: list[int] = []


class Note(BaseModel):
    new_id: str
    amount: int


async def write(written: Sequence[Note], db: AsyncConnection) -> None:
    groups.append(len(written))
    await db.execute(insert(notes), [note.model_dump() for note in written])
    await publish(
        db,
        [
            OrderConfirmed(
                order_id=note.new_id,
                order_version=1,
                customer_id="c",
                total_cents=1,
                currency="EUR",
                occurred_at=1_700_000_000_000,
            )
            for note in written
        ],
    )


together = share_transactions(app, write)


@app.post("/notes", status_code=201)
async def add(note: Note, request: Idempotent) -> dict[str, Any]:
    done = request.run_in_group(together, note, note, note.new_id, answer=note)
    return await done  # type: ignore[return-value]  # a response passes through FastAPI as it is


@pytest.fixture
async def database(new_database: NewDatabase) -> AsyncIterator[Database]:
    database = await new_database("fraud")
    async with database.engine.begin() as connection:
        await connection.run_sync(notes.create)
    app.state.database = database
    groups.clear()
    yield database


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


async def post(client: httpx.AsyncClient, new_id: str, amount: int = 1, key: str = "") -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post("/notes", json={"new_id": new_id, "amount": amount}, headers=headers)


async def count(database: Database, table: Table) -> int:
    async with database.transaction() as db:
        return await db.scalar(select(func.count()).select_from(table)) or 0


async def test_concurrent_requests_share_transactions_and_keep_their_order(
    client: httpx.AsyncClient, database: Database
) -> None:
    answers = await asyncio.gather(*(post(client, f"{number:03}") for number in range(150)))
    assert [answer.json()["new_id"] for answer in answers] == [f"{number:03}" for number in range(150)]
    assert {answer.status_code for answer in answers} == {201}
    assert sum(groups) == 150
    assert len(groups) <= 6
    assert max(groups) <= LARGEST_GROUP
    async with database.transaction() as db:
        ids = (await db.execute(select(outbox.c.aggregate_id).order_by(outbox.c.id))).scalars().all()
    assert sorted(ids) == [f"{number:03}" for number in range(150)]


async def test_groups_are_formed_in_the_order_of_arrival(database: Database) -> None:
    written: list[list[int]] = []

    async def note(db: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        written.append(list(items))
        return items

    group = GroupCommit(note)
    assert await asyncio.gather(*(group.submit(database, n) for n in range(250))) == list(range(250))
    assert [n for items in sorted(written) for n in items] == list(range(250))


async def test_a_member_that_breaks_a_constraint_fails_alone(
    client: httpx.AsyncClient, database: Database
) -> None:
    amounts = [0 if number % 7 == 3 else 1 for number in range(30)]
    answers = await asyncio.gather(
        *(post(client, f"{number:03}", amount, key=f"k{number}") for number, amount in enumerate(amounts))
    )
    assert [answer.status_code for answer in answers] == [201 if amount else 500 for amount in amounts]
    assert await count(database, notes) == await count(database, outbox) == sum(amounts)
    assert await count(database, idempotency_keys) == sum(amounts), "a refused member keeps no key"


async def test_a_member_with_a_value_that_postgres_refuses_fails_alone(
    client: httpx.AsyncClient, database: Database
) -> None:
    answers = await asyncio.gather(
        post(client, "good"), post(client, "nul\x00"), post(client, "large", 2**40), post(client, "also-good")
    )
    assert [answer.status_code for answer in answers] == [201, 422, 500, 201]
    assert await count(database, notes) == 2


async def test_one_key_many_times_at_once_among_others_is_one_effect(
    client: httpx.AsyncClient, database: Database
) -> None:
    same = [post(client, "same", key="k") for _ in range(20)]
    others = [post(client, f"other-{number}", key=f"k{number}") for number in range(20)]
    answers = await asyncio.gather(*(each for pair in zip(same, others, strict=True) for each in pair))
    assert {answer.status_code for answer in answers} == {201}
    replayed = [answer.headers.get("Idempotent-Replayed") for answer in answers[::2]]
    assert replayed.count(None) == 1
    assert {answer.text for answer in answers[::2]} == {answers[0].text}
    assert await count(database, notes) == 21


async def test_one_key_at_once_with_two_bodies_is_one_effect_and_a_refusal(
    client: httpx.AsyncClient, database: Database
) -> None:
    for number in range(5):
        key = f"key-{number}"
        answers = await asyncio.gather(
            post(client, f"a{number}", key=key), post(client, f"b{number}", key=key)
        )
        assert sorted(answer.status_code for answer in answers) == [201, 422]
    assert await count(database, notes) == 5


async def test_one_key_in_two_processes_waits_for_the_first_to_commit(
    client: httpx.AsyncClient, database: Database
) -> None:
    """Another process holds the key in an open transaction, which ends in a rollback and then in a commit."""
    async with database.engine.connect() as other:
        begun = await other.begin()
        columns = "principal, key, fingerprint, status, body"
        claim = f"INSERT INTO idempotency_keys ({columns}) VALUES ('{SOME_CUSTOMER.name}', 'k', '\\x00', 201, '{{}}')"
        await other.execute(text(claim))
        pending = asyncio.create_task(post(client, "mine", key="k"))
        await waits_for_a_lock(database)
        await begun.rollback()
        assert (await pending).status_code == 201
    async with database.engine.connect() as other:
        begun = await other.begin()
        await other.execute(text(claim.replace("'k'", "'k2'")))
        pending = asyncio.create_task(post(client, "late", key="k2"))
        await waits_for_a_lock(database)
        await begun.commit()
        assert (await pending).status_code == 422
    assert await count(database, notes) == 1


async def test_the_same_key_of_two_customers_is_two_requests_in_one_group(
    client: httpx.AsyncClient, database: Database
) -> None:
    theirs = [bearer(SIGNER.customer(name)) | {"Idempotency-Key": "k"} for name in ("ada", "bob", "ada")]
    requests = [
        client.post("/notes", json={"new_id": f"note-of-{n % 2}", "amount": 1}, headers=headers)
        for n, headers in enumerate(theirs)
    ]
    answers = await asyncio.gather(*requests)
    assert [(answer.status_code, answer.json()["new_id"]) for answer in answers] == [
        (201, "note-of-0"),
        (201, "note-of-1"),
        (201, "note-of-0"),
    ]
    assert ["Idempotent-Replayed" in answer.headers for answer in answers] == [False, False, True]
    assert await count(database, notes) == 2


async def waits_for_a_lock(database: Database) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with asyncio.timeout(5):
        while True:
            async with database.transaction() as db:
                if await db.scalar(waiting):
                    return


async def test_each_member_continues_its_own_trace(client: httpx.AsyncClient, database: Database) -> None:
    traces = {f"n{number}": f"00-{number:032x}-{7:016x}-01" for number in range(1, 30)}
    await asyncio.gather(
        *(
            client.post("/notes", json={"new_id": new_id, "amount": 1}, headers={"traceparent": trace})
            for new_id, trace in traces.items()
        )
    )
    async with database.transaction() as db:
        rows = (await db.execute(select(outbox.c.aggregate_id, outbox.c.headers))).all()
    assert len(rows) == len(traces)
    for new_id, headers in rows:
        assert traces[new_id][:36] in headers


async def test_an_unavailable_database_is_not_tried_again_for_each_member(database: Database) -> None:
    tries = 0

    async def fail(db: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        nonlocal tries
        tries += 1
        raise ConnectionResetError("Postgres has ended")

    group = GroupCommit(fail)
    ended = await asyncio.gather(*(group.submit(database, n) for n in range(50)), return_exceptions=True)
    assert {type(error) for error in ended} == {ConnectionResetError}
    assert tries <= 2


async def test_a_request_that_waited_too_long_is_refused_and_has_no_effect(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.http.group_commit.GIVE_UP_SECONDS", 0.05)
    written: list[str] = []

    async def slow(db: AsyncConnection, items: Sequence[str]) -> Sequence[str]:
        written.extend(items)
        await db.execute(text("SELECT pg_sleep(0.2)"))
        return items

    group = GroupCommit(slow)
    first = []
    for name in ("first", "second"):
        first.append(asyncio.create_task(group.submit(database, name)))
        while name not in written:
            await asyncio.sleep(0.001)
    late = asyncio.create_task(group.submit(database, "late"))
    with pytest.raises(Overloaded):
        await late
    assert await asyncio.gather(*first) == ["first", "second"] == written


async def test_a_repeated_request_gets_the_answer_that_never_arrived(
    client: httpx.AsyncClient, database: Database
) -> None:
    key = "k"
    lost = asyncio.create_task(post(client, "note", key=key))
    async with asyncio.timeout(5):
        while not await count(database, idempotency_keys):
            pass
    lost.cancel()
    again = await post(client, "note", key=key)
    assert (again.status_code, again.json()) == (201, {"new_id": "note", "amount": 1})
    assert await count(database, notes) == 1


async def test_a_request_that_comes_just_as_a_group_ends_is_not_left_waiting(database: Database) -> None:
    async def write(db: AsyncConnection, items: Sequence[int]) -> Sequence[int]:
        return items

    group = GroupCommit(write)
    async with asyncio.timeout(20):
        for number in range(0, 400, 2):
            first = [asyncio.create_task(group.submit(database, each)) for each in (number, number + 1)]
            assert await first[0] == number  # wakes up in the step in which the group's task ends
            assert await group.submit(database, -1) == -1
            assert await first[1] == number + 1
