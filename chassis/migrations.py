"""Brings one service's database to the shape its tables declare: the chassis' revisions first, then its own.

Two version tables, so that chassis and service move independently. Alembic runs without an env.py:
everything such a file would say is said here, once for all services.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

from chassis import database, retention
from chassis.consumer import crash_loop, inbox, offsets, parking, positions, subscriptions
from chassis.database import Database
from chassis.http import idempotency
from chassis.outbox import table as outbox_table
from chassis.outbox import terms
from chassis.service import Service

CHASSIS_TABLES = (
    retention,
    idempotency,
    inbox,
    outbox_table,
    parking,
    positions,
    offsets,
    terms,
    crash_loop,
    subscriptions,
)
"""Importing these modules is what fills `database.metadata`."""

SERVICES = Path(__file__).parent.parent / "services"


class Revisions:
    """One folder of revisions, the tables it leads to, and the version table that says how far it came."""

    def __init__(self, folder: Path, version_table: str, metadata: MetaData) -> None:
        self.script = ScriptDirectory(folder.parent, version_locations=[folder])
        self.version_table = version_table
        self.metadata = metadata

    def upgrade(self, connection: Connection) -> bool:
        """To the newest revision; returns whether anything ran."""
        context = self._context(connection, fn=self._steps_to_head)
        before = context.get_current_heads()
        with context.begin_transaction(), Operations.context(context):
            context.run_migrations()
        return context.get_current_heads() != before

    def differences(self, connection: Connection, other_tables: Iterable[str]) -> list[Any]:
        """What the declared tables have that the database has not, and the reverse; empty when they agree."""
        return list(
            compare_metadata(self._context(connection, include_name=_unless(other_tables)), self.metadata)
        )

    def _steps_to_head(self, revision: Any, _: MigrationContext) -> Any:
        return self.script._upgrade_revs("head", revision)

    def _context(self, connection: Connection, **opts: Any) -> MigrationContext:
        return MigrationContext.configure(connection, opts={"version_table": self.version_table} | opts)


async def migrate(service: Service, url: str) -> list[str]:
    """Returns what changed, in words; an empty list when the database was up to date."""
    db = Database(url, pool_size=1)
    try:
        async with db.transaction() as connection:
            changed = [
                revisions.version_table
                for revisions in _all(service)
                if await connection.run_sync(revisions.upgrade)
            ]
            if await subscriptions.record_subscriptions(connection, service):
                changed.append("subscriptions")
            return changed
    finally:
        await db.close()


async def differences(service: Service, url: str) -> list[Any]:
    """`alembic check` for both sets of tables."""
    db = Database(url, pool_size=1)
    try:
        async with db.transaction() as connection:
            chassis, own = _all(service)
            ours, theirs = chassis.metadata.tables, own.metadata.tables
            found = await connection.run_sync(chassis.differences, [*theirs, own.version_table])
            return found + await connection.run_sync(own.differences, [*ours, chassis.version_table])
    finally:
        await db.close()


def _all(service: Service) -> tuple[Revisions, Revisions]:
    return (
        Revisions(Path(__file__).parent / "revisions", "chassis_version", database.metadata),
        Revisions(SERVICES / service.name / "migrations", "service_version", service.metadata),
    )


def _unless(excluded: Iterable[str]) -> Callable[[str | None, str, Any], bool]:
    names = set(excluded)

    def include(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name not in names

    return include
