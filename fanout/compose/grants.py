"""What each login may do in a service's database: the API what its grants.sql says, the worker what all workers may.

The operator reads, and decides about outbox rows that cannot be sent. Nobody but the owner, whose password only
setup has, changes the shape of a table.
"""

from collections.abc import Iterator

import asyncpg

from chassis.service import load
from fanout.compose.logins import OPERATOR, Process, apis, processes
from fanout.errors import SetupFailed
from fanout.repository import REPOSITORY

DECIDED = ("set_aside_at", "error_type", "error_message", "discarded_at", "discarded_by", "discard_reason")
CLEARED_BY_REPLAY = ("inbox", "consumer_offsets", "parked", "crash_markers", "purges")


def statements(service: str) -> list[str]:
    """In one transaction they replace all rights there were, so that nobody is without his for a moment."""
    worker, api = Process(service, "worker"), Process(service, "api")
    has_api = api in apis()
    everyone = ", ".join([OPERATOR, *(process.login for process in processes())])
    ours = ", ".join([worker.login, OPERATOR, *([api.login] if has_api else [])])
    return [
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everyone}",
        f"REVOKE ALL ON DATABASE {service} FROM {everyone}",
        f"GRANT CONNECT ON DATABASE {service} TO {ours}",
        *_of_worker(worker),
        *([_of_api(service)] if has_api else []),
        *_of_operator(service),
    ]


def _of_worker(worker: Process) -> Iterator[str]:
    yield (REPOSITORY / "chassis" / "grants.sql").read_text().format(worker=worker.login)
    if tables := ", ".join(load(worker.service).metadata.tables):
        yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {worker.login}"


def _of_api(service: str) -> str:
    file = REPOSITORY / "services" / service / "grants.sql"
    if not file.exists():
        raise SetupFailed(
            f"services/{service} has an api.py and no grants.sql: write there what {service}_api may do"
        )
    return file.read_text()


def _of_operator(service: str) -> Iterator[str]:
    """Deals with outbox rows that cannot be sent. Only a read model is emptied and filled again."""
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {OPERATOR}"
    yield f"GRANT UPDATE ({', '.join(DECIDED)}) ON outbox TO {OPERATOR}"
    found = load(service)
    if found.read_model:
        yield f"GRANT DELETE ON {', '.join([*found.metadata.tables, *CLEARED_BY_REPLAY])} TO {OPERATOR}"
        yield f"GRANT INSERT ON purges TO {OPERATOR}"


async def apply(db: asyncpg.Connection, service: str) -> None:
    async with db.transaction():
        for statement in statements(service):
            try:
                await db.execute(statement)
            except asyncpg.PostgresError as error:
                raise SetupFailed(f"the rights in the database of {service} were refused: {error}") from error
