"""Every login against every table of every database, each operation tried for real: what was not granted is refused."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from fanout.repository import services, services_with_api
from fanout.truncation import FUNCTIONS, SERVICE
from tests.support.containers import Containers, connected

Cell = tuple[str, str]
"""Table, or table.column for an update, and operation."""

READ, ADD, DROP, EMPTY = "SELECT", "INSERT", "DELETE", "TRUNCATE"
REFUSAL = {"set_aside_at", "error_type", "error_message"}
DISCARD = {"discarded_at", "discarded_by", "discard_reason"}
SENT = {"published_at", "kafka_partition", "kafka_offset", "topic_id"}
CHASSIS = {
    "outbox": {READ, ADD, DROP},
    "relay_terms": {READ, ADD, DROP},
    "inbox": {READ, ADD, DROP},
    "consumer_offsets": {READ, ADD},
    "topic_ids": {READ, ADD},
    "parked": {READ, ADD, DROP},
    "crash_markers": {READ, ADD, DROP},
    "held_partitions": {READ, ADD, DROP},
    "ignored_events": {READ, ADD, DROP},
    "purges": {READ, ADD},
    "idempotency_keys": {READ, DROP},
    "subscriptions": {READ},
    "resends": set[str](),
}
CHASSIS_UPDATES = {
    "outbox": {*SENT, *REFUSAL},
    "relay_terms": {"renewed_at"},
    "inbox": {"status", "redrive", "received_at"},
    "consumer_offsets": None,
    "crash_markers": None,
    "held_partitions": None,
    "ignored_events": None,
    "purges": None,
    "idempotency_keys": {"created_at"},
    "parked": {"last_failed_at"},
}
"""None: all columns."""
ORDER = (
    "order_id customer_id currency total_cents status version cancel_reason payment payment_version payment_at "
    "stock stock_version stock_at decided_at shipped_at"
)
KEYS = {"idempotency_keys": ({READ, ADD}, {"status", "body"}), "outbox": ({ADD}, set[str]())}
APIS: dict[str, dict[str, tuple[set[str], set[str]]]] = {
    "orders": {
        "products": ({READ}, set()),
        "orders": ({READ, ADD}, set(ORDER.split())),
        "order_lines": ({READ, ADD}, set()),
        **KEYS,
    },
    "payments": {"payments": ({READ}, {"status", "changed_at"}), "movements": ({ADD}, set()), **KEYS},
    "analytics": {table: ({READ}, set()) for table in ("steps", "order_lines", "sales")},
    "dead_letters": {
        "dead_letters": ({READ}, {"status", "redrive"}),
        "actions": ({READ, ADD}, set()),
        **KEYS,
    },
}
COLUMNS = """
    SELECT table_name, column_name, is_identity = 'YES' AS is_identity, format_type(a.atttypid, a.atttypmod) AS type
    FROM information_schema.columns c JOIN pg_attribute a
        ON a.attrelid = format('public.%I', table_name)::regclass AND a.attname = column_name
    WHERE table_schema = 'public' ORDER BY ordinal_position
"""


MAY_CALL = """
    SELECT name, rolname AS login FROM unnest($1::text[]) AS name, pg_roles
    WHERE rolcanlogin AND NOT rolsuper AND has_function_privilege(rolname, name, 'EXECUTE')
"""


async def is_allowed(db: asyncpg.Connection, statement: str) -> bool:
    """Nothing is changed: it touches no row, and is rolled back."""
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(statement)
        return True
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await transaction.rollback()


def tries(tables: dict[str, dict[str, tuple[str, bool]]]) -> Iterator[tuple[Cell, str]]:
    for table, columns in tables.items():
        plain = [(name, kind) for name, (kind, is_identity) in columns.items() if not is_identity]
        yield (table, READ), f"SELECT * FROM {table} LIMIT 0"
        yield (table, ADD), f"INSERT INTO {table} ({plain[0][0]}) SELECT NULL::{plain[0][1]} WHERE false"
        yield (table, DROP), f"DELETE FROM {table} WHERE false"
        yield (table, EMPTY), f"TRUNCATE {table}"
        for name, kind in plain:
            yield (f"{table}.{name}", "UPDATE"), f"UPDATE {table} SET {name} = NULL::{kind} WHERE false"


def granted(login: str, service: str, tables: dict[str, dict[str, tuple[str, bool]]]) -> set[Cell]:
    if login == "operator":
        cells = {(table, READ) for table in tables}
        cells |= {(f"outbox.{name}", "UPDATE") for name in REFUSAL | DISCARD | SENT}
        cells |= {("resends", ADD), ("resends.rows", "UPDATE")}
        if service == "analytics":
            own = set(tables) - set(CHASSIS) - {"chassis_version", "service_version"}
            cells |= {
                (table, DROP)
                for table in own
                | {"inbox", "consumer_offsets", "parked", "crash_markers", "ignored_events", "purges"}
            }
            cells |= {("purges", ADD)}
        return cells
    if login == f"{service}_api":
        wanted = APIS[service]
        cells = {(table, operation) for table, (operations, _) in wanted.items() for operation in operations}
        return cells | {
            (f"{table}.{name}", "UPDATE") for table, (_, names) in wanted.items() for name in names
        }
    if login == f"{service}_worker":
        return of_worker(tables)
    return set()


def of_worker(tables: dict[str, dict[str, tuple[str, bool]]]) -> set[Cell]:
    cells: set[Cell] = set()
    for table, columns in tables.items():
        if table in ("chassis_version", "service_version"):
            continue
        operations = CHASSIS.get(table, {READ, ADD, DROP})
        cells |= {(table, operation) for operation in operations}
        updates = CHASSIS_UPDATES.get(table, set()) if table in CHASSIS else None
        names = columns if updates is None else updates
        cells |= {(f"{table}.{name}", "UPDATE") for name in names if not columns[name][1]}
    return cells


async def tables_of(containers: Containers, service: str) -> dict[str, dict[str, tuple[str, bool]]]:
    found: dict[str, dict[str, tuple[str, bool]]] = {}
    async with connected(containers, "postgres", service) as db:
        for row in await db.fetch(COLUMNS):
            found.setdefault(row["table_name"], {})[row["column_name"]] = (row["type"], row["is_identity"])
    return found


@pytest.mark.parametrize("service", services())
async def test_each_cell_is_as_it_was_granted(containers: Containers, service: str) -> None:
    tables = await tables_of(containers, service)
    logins = [
        f"{service}_worker",
        "operator",
        "exporter",  # reads columns of some tables, no table as a whole
        *([f"{service}_api"] if service in services_with_api() else []),
    ]
    wrong, tried = [], 0
    for login in logins:
        wanted = granted(login, service, tables)
        async with connected(containers, login, service) as db:
            for cell, statement in tries(tables):
                tried += 1
                if await is_allowed(db, statement) != (cell in wanted):
                    wrong.append((login, *cell))
            for shape in (
                "CREATE TABLE mine (id int)",
                "CREATE SCHEMA mine",
                "DROP TABLE inbox",
                "CREATE ROLE mine",
            ):
                tried += 1
                if await is_allowed(db, shape):
                    wrong.append((login, shape, ""))
    print(f"{service}: {tried} cells tried")
    assert wrong == []


async def test_nobody_but_the_operator_may_have_a_message_truncated(containers: Containers) -> None:
    async with connected(containers, "postgres", SERVICE) as db:
        rows = await db.fetch(MAY_CALL, [f"{name}()" for name in FUNCTIONS])
    assert {(row["name"], row["login"]) for row in rows} == {
        (f"{name}()", login) for name in FUNCTIONS for login in ("operator", SERVICE)
    }
    allowed = {}
    for login in ("operator", f"{SERVICE}_worker"):
        async with connected(containers, login, SERVICE) as db:
            allowed[login] = [await is_allowed(db, f"SELECT {name}()") for name in FUNCTIONS]
    assert allowed == {"operator": [True, True], f"{SERVICE}_worker": [False, False]}


def test_no_process_was_refused_a_right_that_it_asked_for(containers: Containers) -> None:
    """Whatever they have done since they were started; the first purge of a worker is among it."""
    lines = containers.compose("logs", "--no-color", *containers.processes).splitlines()
    assert [line for line in lines if "permission denied" in line] == []


async def test_a_login_enters_no_database_but_its_own(containers: Containers) -> None:
    own = {f"{name}_worker": name for name in services()} | {
        f"{name}_api": name for name in services_with_api()
    }
    databases = [*services(), "registry", "postgres"]

    async def enters(login: str, database: str) -> bool:
        try:
            async with connected(containers, login, database):
                return True
        except asyncpg.InsufficientPrivilegeError:
            return False

    pairs = [(login, database) for login in [*own, "operator", "exporter"] for database in databases]
    entered = {pair for pair in pairs if await enters(*pair)}
    readers = {(login, name) for login in ("operator", "exporter") for name in services()}
    assert entered == {*own.items(), *readers}


async def test_nobody_enters_without_the_right_password(containers: Containers) -> None:
    port = int(containers.environment["FANOUT_POSTGRES_PORT"])
    for login in ("postgres", "orders_api", "operator"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncio.wait_for(
                asyncpg.connect(host="127.0.0.1", port=port, user=login, password="", database="orders"), 20
            )
