"""`fanout sql` on a real Postgres: it shows rows, writes nothing, and never has a secret in hand."""

import json
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from chassis.database import Database
from chassis.events.avro import encode, frame
from chassis.outbox.table import dump_headers
from fanout.errors import BadUsage, FanoutError, Unreachable
from fanout.provision.databases import ensure_reader
from fanout.sql import Result, query, tables
from tests.integration.conftest import NewDatabase
from tests.support import sample_events

TOKEN = "tok_recognizable_4711"
FORMS = {
    TOKEN,
    TOKEN.encode().hex(),
    *(b64encode(b" " * n + TOKEN.encode()).decode()[4:-4] for n in range(3)),
}
Ask = Callable[..., Awaitable[Result]]


@pytest.fixture
async def database(new_database: NewDatabase, postgres_url: URL) -> Database:
    plain = postgres_url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(plain)
    await ensure_reader(connection, [])
    await connection.close()
    return await new_database("dead_letters")


@pytest.fixture
async def ask(database: Database) -> AsyncIterator[Ask]:
    url = database.engine.url.render_as_string(hide_password=False)

    async def ask(statement: str, limit: int = 100, seconds: float = 10) -> Result:
        return await query("dead_letters", url, statement, limit, seconds)

    yield ask


async def fill(database: Database) -> None:
    """Writes a card's token wherever the system itself writes one."""
    order = sample_events.order_placed(str(uuid.uuid4()), card_token=TOKEN)
    headers = dump_headers([("ce_type", b"OrderPlaced"), ("x-card-token", TOKEN.encode())])
    document = json.dumps(order.to_record())
    async with database.engine.begin() as db:
        values: dict[str, Any] = {
            "id": uuid.uuid4(),
            "key": order.key.encode(),
            "payload": encode(order),
            "value": frame(1, encode(order)),
            "headers": headers,
            "event": document,
        }
        await db.execute(
            text(
                "INSERT INTO outbox (event_id, topic, type, key, payload, headers) "
                "VALUES (:id, 'orders', 'OrderPlaced', :key, :payload, :headers)"
            ),
            values,
        )
        await db.execute(
            text(
                "INSERT INTO dead_letters (consumer, topic, partition, kafka_offset, record_at, key, value, headers, "
                "event, failure, error_type, error_message, attempts, first_failed_at, last_failed_at, status, "
                "redrive) "
                "VALUES ('fraud', 'orders', 0, 0, now(), :key, :value, :headers, :event, 'permanent', 'E', 'e', 1, "
                "now(), now(), 'redriven', 1)"
            ),
            values,
        )
        await db.execute(
            text(
                "INSERT INTO actions (dead_letter_id, who, what, why, redrive, correction) "
                "SELECT dead_letter_id, 'ada', 'redriven', 'so', 1, :event FROM dead_letters"
            ),
            values,
        )
        await db.execute(
            text("CREATE TABLE cards (card_token text, contents json, tokens text[], more jsonb)")
        )
        await db.execute(
            text(
                "INSERT INTO cards VALUES (:token, CAST(:event AS json), ARRAY[:token], CAST(:event AS jsonb))"
            ),
            {"token": TOKEN, "event": document},
        )
        await db.execute(text("ANALYZE"))


@pytest.mark.parametrize(
    "statement",
    [
        "select * from outbox, dead_letters, actions, cards",
        "select o::text, d::text, a::text, c::text from outbox o, dead_letters d, actions a, cards c",
        "select row_to_json(d), to_jsonb(a), array_agg(c) over () from dead_letters d, actions a, cards c",
        "select string_agg(correction, ''), string_agg(headers, '') from actions, dead_letters",
        "select payload::bytea, encode(payload::bytea, 'hex'), reverse(reverse(payload)) from outbox",
        "select substr(event, position('tok_' in event), 30) from dead_letters",
        "select contents->>'card_token', more->>'card_token', tokens, card_token || '' from cards",
        "select encode(headers::bytea, 'hex'), encode(headers::bytea, 'base64') from outbox",
        "select query_to_xml('select card_token from public.cards', true, true, '')",
        "select payload from public.outbox",
        "table public.cards",
        "select most_common_vals::text, histogram_bounds::text from pg_stats where schemaname = 'public'",
        "select query from pg_stat_activity",
        "explain (verbose) select * from cards where card_token like 'tok%'",
    ],
)
async def test_no_statement_shows_a_card_token(database: Database, ask: Ask, statement: str) -> None:
    await fill(database)
    try:
        found = repr(await ask(statement))
    except FanoutError as error:
        found = str(error)
        assert "permission denied" in found or "does not exist" in found
    assert not [form for form in FORMS if form in found]


async def test_what_is_no_secret_is_shown_as_it_is(database: Database, ask: Ask) -> None:
    await fill(database)
    found = await ask("select more->>'currency', contents->'lines'->0->>'product_id', card_token from cards")
    assert found.rows == [("EUR", "mug", "***")]
    found = await ask("select key, payload, (headers::json)->0->>1 from outbox")
    assert (found.rows[0][1:], len(found.rows[0][0])) == (
        ("90 bytes" if False else found.rows[0][1], "OrderPlaced"),
        36,
    )
    assert (
        await ask("select event::json->>'card_token', event::json->>'total_cents' from dead_letters")
    ).rows == [("***", "1000")]


async def test_a_secret_that_is_null_says_that_there_is_none(database: Database, ask: Ask) -> None:
    async with database.engine.begin() as db:
        await db.execute(text("CREATE TABLE cards (card_token text, contents json)"))
        await db.execute(text("INSERT INTO cards VALUES (NULL, CAST('{\"card_token\": null}' AS json))"))
    assert (await ask("select card_token, contents->>'card_token' from cards")).rows == [(None, None)]


@pytest.mark.parametrize(
    "statement",
    [
        "delete from outbox",
        "delete from outbox returning 1",
        "with gone as (delete from outbox returning 1) select * from gone",
        "insert into subscriptions values ('a', 'b', 'c') returning 1",
        "update outbox set topic = 'x' returning 1",
        "select nextval('outbox_id_seq')",
        "select * from outbox for update",
        "create table mine (a int)",
        "create temporary table mine as select 1",
        "truncate outbox",
        "drop table outbox",
        "copy outbox to stdout",
        "set transaction read write",
        "commit",
        "do $$ begin delete from outbox; end $$",
        "select set_config('transaction_read_only', 'off', true)",
    ],
)
async def test_a_statement_that_writes_is_refused_in_a_sentence(
    database: Database, ask: Ask, statement: str
) -> None:
    await fill(database)
    with pytest.raises(BadUsage) as refused:
        await ask(statement)
    assert "\n" not in str(refused.value)
    assert (await ask("select count(*), max(topic) from outbox")).rows == [(1, "orders")]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("select nix\nfrom outbox", 'column "nix" does not exist, at character 8: \'nix'),
        ("selekt", 'syntax error at or near "selekt", at character 1'),
        ("select 1; select 2", "give one statement"),
        ("select $1::int", "write their values"),
        ("select 1/0", "division by zero"),
        ("", "returns no rows"),
        ("select '200000-01-01'::date", "cast it to text"),
    ],
)
async def test_a_wrong_statement_is_postgres_sentence_and_its_place(
    ask: Ask, statement: str, sentence: str
) -> None:
    with pytest.raises(BadUsage) as refused:
        await ask(statement)
    assert sentence in str(refused.value)


async def test_a_statement_that_takes_too_long_is_ended(ask: Ask) -> None:
    with pytest.raises(FanoutError, match=r"longer than 0\.2 s.*--timeout"):
        await ask("select pg_sleep(60)", seconds=0.2)


async def test_a_statement_may_take_a_year(ask: Ask) -> None:
    assert (await ask("select 1", seconds=366 * 24 * 3600.0)).rows == [(1,)]


async def test_only_so_many_rows_are_fetched(ask: Ask) -> None:
    found = await ask("select n, n from generate_series(1, 100000000) n", limit=2, seconds=60)
    assert (found.columns, found.rows, found.more) == (["n", "n_2"], [(1, 1), (2, 2)], True)
    assert not (await ask("select generate_series(1, 2)", limit=2)).more


async def test_the_tables_are_listed_with_rows_and_columns(database: Database) -> None:
    await fill(database)
    found = await tables("dead_letters", database.engine.url.render_as_string(hide_password=False), 10)
    listed = {row[0]: row[1:] for row in found.rows}
    assert listed["outbox"][0] == 1 and listed["cards"] == (1, "card_token, contents, tokens, more")
    assert "consumer, event_id" in listed["inbox"][1]


async def test_a_condition_on_an_indexed_column_finds_its_index(database: Database, ask: Ask) -> None:
    async with database.engine.begin() as db:
        await db.execute(
            text(
                "INSERT INTO inbox SELECT 'fraud', gen_random_uuid(), 'applied' FROM generate_series(1, 5000)"
            )
        )
        await db.execute(text("ANALYZE inbox"))
    found = await ask(
        "explain select * from inbox where consumer = 'fraud' and event_id = '019a2f6c-0d1e-7a3b-9c4d-5e6f70819203'"
    )
    conditions = [line for (line,) in found.rows if "Index Cond" in line]
    assert conditions and all("consumer" in line for line in conditions)


async def test_a_login_that_may_only_select_needs_the_role_and_temporary_views(database: Database) -> None:
    """The operator's login with containers."""
    await fill(database)
    url = database.engine.url.set(username="test_operator", password="x")
    name, asked = url.database, "select count(*), min(payload) from outbox"
    plain = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    owner = await asyncpg.connect(plain)
    try:
        await owner.execute(
            f"CREATE ROLE test_operator LOGIN PASSWORD 'x'; GRANT CONNECT ON DATABASE {name} TO test_operator;"
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO test_operator;"
            f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"
        )
        with pytest.raises(FanoutError, match="has no role fanout_reader for this: fanout setup"):
            await query("orders", url.render_as_string(hide_password=False), asked, 1, 5)
        await owner.execute(f"GRANT TEMPORARY ON DATABASE {name} TO test_operator")
        await ensure_reader(owner, ["test_operator"])
        found = await query("orders", url.render_as_string(hide_password=False), asked, 1, 5)
        assert found.rows[0][0] == 1 and found.rows[0][1].endswith(" bytes")
    finally:
        await owner.execute("DROP OWNED BY test_operator; DROP ROLE test_operator")
        await owner.close()


async def test_a_database_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(Unreachable, match=r"the database of orders does not answer at 127\.0\.0\.1:9"):
        await query("orders", "postgresql+asyncpg://orders:x@127.0.0.1:9/orders", "select 1", 1, 1)
