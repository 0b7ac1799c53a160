"""`fanout outbox`: list and show outbox rows that cannot be sent, send them again, or discard them."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from sqlalchemy import Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.outbox.table import REFUSED, load_headers
from fanout.console import Json, counted, print_json, printable, table
from fanout.databases import Databases, read_each, session, snapshot
from fanout.environment import user_name
from fanout.errors import BadUsage, FanoutError
from fanout.names import service_of
from fanout.running import running
from schemas.secrets import MASK, is_secret, masked_text

command = typer.Typer(
    no_args_is_help=True, help="List, show, send again or discard outbox rows that cannot be sent."
)

LARGEST_ID = 2**63 - 1


class Unsent(NamedTuple):
    """Rows that are neither sent nor set aside for more than a second, and the age of the oldest, if there is one."""

    rows: int
    seconds: float | None


Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Whose outbox.", show_default=False)]
Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", max=LARGEST_ID, help="As ls shows.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", help="Every row of this outbox that cannot be sent.")]
Why = Annotated[str, typer.Option(help="The reason; it is kept.", show_default=False)]
Who = Annotated[str | None, typer.Option(help="Who decides that; default: you.")]

COLUMNS = (
    "id, event_id, topic, type, aggregate_id, created_at, published_at, set_aside_at, error_type, error_message, "
    "discarded_at, discarded_by, discard_reason"
)
LIST = text(f"SELECT {COLUMNS} FROM outbox WHERE {REFUSED} ORDER BY id")
SHOW = text(f"SELECT {COLUMNS}, headers, octet_length(payload) AS payload_bytes FROM outbox WHERE id = :id")
UNSENT = text("""
    SELECT count(*) AS rows, extract(epoch FROM clock_timestamp() - min(created_at))::float AS seconds
    FROM outbox WHERE published_at IS NULL AND set_aside_at IS NULL
        AND created_at < clock_timestamp() - interval '1 second'
""")
RETRY = text(f"""
    UPDATE outbox SET set_aside_at = NULL, error_type = NULL, error_message = NULL
    WHERE {REFUSED} AND (:everything OR id = ANY (:ids)) RETURNING id
""")
DISCARD = text(f"""
    UPDATE outbox SET discarded_at = clock_timestamp(), discarded_by = :who, discard_reason = :why
    WHERE {REFUSED} AND (:everything OR id = ANY (:ids)) RETURNING id
""")


@command.command()
def ls(
    service: Annotated[str | None, typer.Argument(help="Whose outbox.")] = None, json_output: Json = False
) -> None:
    """List the rows that cannot be sent, of one outbox or of all, and count those that wait for longer than a second.

    Example: fanout outbox ls --json
    """
    found, unsent = asyncio.run(_listed(_databases(service)))
    if json_output:
        print_json({"rows": found, "unsent": {"rows": unsent.rows, "oldest_seconds": unsent.seconds}})
        return
    if found:
        headings = ("service", ">id", "topic", "what", "set aside (UTC)", "reason")
        Console(highlight=False).print(table(headings, map(_cells, found), unbroken=("id",)))
    sentences = [*([] if found else ["no row is set aside"]), *_sentences(unsent)]
    if sentences:
        print("; ".join(sentences))


@command.command()
def show(
    service: Service,
    row_id: Annotated[int, typer.Argument(metavar="ID", max=LARGEST_ID, show_default=False)],
    json_output: Json = False,
) -> None:
    """Show an outbox row, why it cannot be sent, and what was decided about it.

    Example: fanout outbox show orders 1042
    """
    row = asyncio.run(_shown(service, row_id))
    if json_output:
        print_json(row)
        return
    for name, value in row.items():
        print(printable(f"{name}: {'-' if value is None else value}"))


@command.command()
def retry(service: Service, ids: Ids = None, everything: All = False) -> None:
    """Send rows again, once the cause is removed. Rows that still cannot be sent are set aside again.

    Example: fanout outbox retry orders 1042
    """
    done = asyncio.run(_decide(service, RETRY, ids, everything, {}))
    print(f"handed to the relay again: {counted(len(done), 'row')}")


@command.command()
def discard(service: Service, ids: Ids = None, *, why: Why, who: Who = None, everything: All = False) -> None:
    """Discard rows: no consumer receives them, later events of the same key are sent, your reason is kept.

    Example: fanout outbox discard orders 1042 --why "a test order of 3 MB"
    """
    reason = {"who": who or user_name(), "why": why}
    done = asyncio.run(_decide(service, DISCARD, ids, everything, reason))
    print(f"discarded: {counted(len(done), 'row')}")


def _databases(service: str | None) -> Databases:
    databases = running().databases
    if service is None:
        return databases
    found = service_of(service, sorted(databases))
    return {found: databases[found]}


def _sentences(unsent: Unsent) -> Iterator[str]:
    if unsent.rows:
        verb, oldest = ("is", "") if unsent.rows == 1 else ("are", "the oldest ")
        yield f"{unsent.rows:,} {verb} not yet sent, {oldest}for {unsent.seconds or 0:.0f} s"


async def _listed(databases: Databases) -> tuple[list[dict[str, Any]], Unsent]:
    async def read(service: str, db: AsyncConnection) -> tuple[list[dict[str, Any]], Unsent]:
        rows = [{"service": service, **_fields(row)} for row in await db.execute(LIST)]
        return rows, Unsent(*(await db.execute(UNSENT)).one())

    found = await read_each(databases, read)
    waiting = [unsent.seconds for _, unsent in found if unsent.seconds is not None]
    unsent = Unsent(sum(unsent.rows for _, unsent in found), max(waiting, default=None))
    return [row for rows, _ in found for row in rows], unsent


async def _shown(service: str, row_id: int) -> dict[str, Any]:
    [(service, url)] = _databases(service).items()
    async with snapshot(service, url) as db:
        row = (await db.execute(SHOW, {"id": row_id})).one_or_none()
    if row is None:
        raise FanoutError(f"the outbox of {service} has no row {row_id}: fanout outbox ls {service}")
    return {"service": service, **_fields(row), "headers": _headers(row.headers)}


async def _decide(
    service: str,
    statement: TextClause,
    ids: Sequence[int] | None,
    everything: bool,
    reason: Mapping[str, str],
) -> list[int]:
    """Changes all rows or none: none if one of them is not set aside."""
    if bool(ids) == everything:
        raise BadUsage("which rows? give their ids, or --all for every row that cannot be sent")
    [(service, url)] = _databases(service).items()
    values = {"ids": list(ids or ()), "everything": everything, **reason}
    async with session(service, url) as db, db.begin():
        done = sorted((await db.execute(statement, values)).scalars())
        if missing := sorted(set(ids or ()) - set(done)):
            raise FanoutError(
                f"rows {', '.join(map(str, missing))} of {service} are not set aside, so nothing was changed: "
                f"fanout outbox ls {service}"
            )
    return done


def _fields(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "error_message": row.error_message and masked_text(row.error_message)}


def _headers(stored: str) -> Any:
    try:
        headers = [
            (name, (value or b"").decode("utf-8", "backslashreplace")) for name, value in load_headers(stored)
        ]
        return {name: MASK if is_secret(name) else masked_text(value) for name, value in headers}
    except (ValueError, TypeError):
        return masked_text(stored)


def _cells(row: Mapping[str, Any]) -> Iterable[object]:
    what = f"{row['type']} of {row['aggregate_id']}" if row["aggregate_id"] else row["type"] or "a message"
    set_aside = f"{row['set_aside_at']:%Y-%m-%d %H:%M:%S}"
    return (
        row["service"],
        row["id"],
        row["topic"],
        what,
        set_aside,
        f"{row['error_type']}: {row['error_message']}",
    )
