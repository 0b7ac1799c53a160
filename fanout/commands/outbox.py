"""`fanout outbox`: the outbox rows that cannot be sent: look at them, have them tried again, or discard them."""

import asyncio
import getpass
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Row, text

from chassis.outbox.table import REFUSED, load_headers
from fanout.databases import session, snapshot
from fanout.dlq.report import printable
from fanout.errors import BadUsage, FanoutError, UnknownService
from fanout.running import running

command = typer.Typer(
    no_args_is_help=True, help="Deal with outbox rows that cannot be sent: look, try again, or discard."
)

Service = Annotated[str, typer.Argument(metavar="SERVICE", help="Whose outbox.", show_default=False)]
Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Rows as ls shows them.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every row of this outbox that cannot be sent.")]
Why = Annotated[str, typer.Option("--why", help="The reason; it is kept.", show_default=False)]
Who = Annotated[str | None, typer.Option("--who", help="Who decides that; default: you.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

COLUMNS = (
    "id, event_id, topic, type, aggregate_id, created_at, published_at, set_aside_at, error_type, error_message, "
    "discarded_at, discarded_by, discard_reason"
)
LIST = text(f"SELECT {COLUMNS} FROM outbox WHERE {REFUSED} ORDER BY id")
SHOW = text(f"SELECT {COLUMNS}, headers, octet_length(payload) AS payload_bytes FROM outbox WHERE id = :id")
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
    service: Annotated[str | None, typer.Argument(metavar="[SERVICE]")] = None, json_output: Json = False
) -> None:
    """List the rows that cannot be sent, of one outbox or of all.

    Example: fanout outbox ls --json
    """
    found = asyncio.run(_listed(_databases(service)))
    if json_output:
        print(json.dumps({"rows": found}, indent=2))
    elif found:
        Console(highlight=False).print(_table(found))
    else:
        print("every row can be sent")


@command.command()
def show(
    service: Service,
    row_id: Annotated[int, typer.Argument(metavar="ID", show_default=False)],
    json_output: Json = False,
) -> None:
    """Show an outbox row, why it cannot be sent, and what was decided about it.

    Example: fanout outbox show orders 1042
    """
    row = asyncio.run(_shown(service, row_id))
    if json_output:
        print(json.dumps(row, indent=2))
        return
    for name, value in row.items():
        print(printable(f"{name}: {'-' if value is None else value}"))


@command.command()
def retry(service: Service, ids: Ids = None, everything: All = False) -> None:
    """Have rows sent after all, once the cause is mended. What still cannot be sent is set aside again.

    Example: fanout outbox retry orders 1042
    """
    done = asyncio.run(_decide(service, RETRY, ids, everything, {}))
    print(f"handed to the relay again: {_counted(done)}")


@command.command()
def discard(service: Service, ids: Ids = None, *, why: Why, who: Who = None, everything: All = False) -> None:
    """Give rows up: no consumer ever hears of them, later events of the same key are sent, your reason is kept.

    Example: fanout outbox discard orders 1042 --why "a test order of 3 MB"
    """
    decided = {"who": who or getpass.getuser(), "why": why}
    done = asyncio.run(_decide(service, DISCARD, ids, everything, decided))
    print(f"discarded: {_counted(done)}")


def _databases(service: str | None) -> Mapping[str, str]:
    databases = running().databases
    if service is None:
        return databases
    if service not in databases:
        raise UnknownService(service, sorted(databases))
    return {service: databases[service]}


async def _listed(databases: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for service, url in databases.items():
        async with snapshot(service, url) as db:
            found += [{"service": service} | _plain(row) for row in await db.execute(LIST)]
    return found


async def _shown(service: str, row_id: int) -> dict[str, Any]:
    [(_, url)] = _databases(service).items()
    async with snapshot(service, url) as db:
        row = (await db.execute(SHOW, {"id": row_id})).one_or_none()
    if row is None:
        raise FanoutError(f"the outbox of {service} has no row {row_id}: fanout outbox ls {service}")
    return {"service": service} | _plain(row) | {"headers": _headers(row.headers)}


async def _decide(
    service: str, statement: Any, ids: Sequence[int] | None, everything: bool, decided: Mapping[str, str]
) -> list[int]:
    """All rows or none: nothing is decided about any if one of them is not set aside."""
    if bool(ids) == everything:
        raise BadUsage("which rows? give their ids, or --all for every row that cannot be sent")
    [(_, url)] = _databases(service).items()
    values = {"ids": list(ids or ()), "everything": everything, **decided}
    async with session(service, url) as db, db.begin():
        done = sorted((await db.execute(statement, values)).scalars())
        if missing := sorted(set(ids or ()) - set(done)):
            raise FanoutError(
                f"rows {', '.join(map(str, missing))} of {service} are not set aside, so nothing was changed: "
                f"fanout outbox ls {service}"
            )
    return done


def _plain(row: Row[Any]) -> dict[str, Any]:
    return {name: _json(value) for name, value in row._mapping.items()}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, int) else str(value)


def _headers(stored: str) -> Any:
    try:
        return {
            name: (value or b"").decode("utf-8", "backslashreplace") for name, value in load_headers(stored)
        }
    except (ValueError, TypeError):
        return stored


def _table(found: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("service")
    table.add_column("id", justify="right", no_wrap=True)
    for heading in ("topic", "what", "set aside (UTC)", "reason"):
        table.add_column(heading)
    for row in found:
        what = (
            f"{row['type']} of {row['aggregate_id']}" if row["aggregate_id"] else row["type"] or "a message"
        )
        reason = f"{row['error_type']}: {row['error_message']}"
        cells = (
            row["service"],
            row["id"],
            row["topic"],
            what,
            row["set_aside_at"][:19].replace("T", " "),
            reason,
        )
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _counted(done: Sequence[int]) -> str:
    return f"{len(done)} {'row' if len(done) == 1 else 'rows'}"
