"""Migrates one service's database to the tables that the code declares: the chassis' revisions first, then its own.

The chassis and the service have a version table each, so that they change independently. This module takes the place
of Alembic's env.py, once for all services.
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
from chassis.consumer import crash_loop, held, ignored, inbox, offsets, parking, subscriptions
from chassis.database import Database
from chassis.events import topic_ids
from chassis.http import idempotency_keys
from chassis.outbox import resends, terms
from chassis.outbox import table as outbox_table
from chassis.service import Service

CHASSIS_TABLES = (
    retention,
    idempotency_keys,
    inbox,
    outbox_table,
    resends,
    parking,
    held,
    ignored,
    offsets,
    terms,
    crash_loop,
    subscriptions,
    topic_ids,
)
"""Modules with tables; importing them fills `database.metadata`."""

SERVICES = Path(__file__).parent.parent / "services"


class UnknownRevision(Exception):
    """The database was migrated by another version of Fanout, whose last revision this one does not have."""


async def migrate(service: Service, url: str) -> list[str]:
    """Migrates to the newest revisions and returns what changed; an empty list if the database was up to date.

    Raises UnknownRevision.
    """
    db = Database(url, pool_size=1)
    try:
        async with db.transaction() as connection:
            changed = [
                revisions.version_table
                for revisions in _revisions(service)
                if await connection.run_sync(revisions.upgrade)
            ]
            if await subscriptions.record_subscriptions(connection, service):
                changed.append("subscriptions")
            return changed
    finally:
        await db.close()


async def differences(service: Service, url: str) -> list[Any]:
    """Compares the database with the declared tables, as `alembic check` does; an empty list if they agree."""
    db = Database(url, pool_size=1)
    try:
        async with db.transaction() as connection:
            chassis, own = _revisions(service)
            chassis_tables, own_tables = chassis.metadata.tables, own.metadata.tables
            found = await connection.run_sync(chassis.differences, [*own_tables, own.version_table])
            return found + await connection.run_sync(
                own.differences, [*chassis_tables, chassis.version_table]
            )
    finally:
        await db.close()


class Revisions:
    """A folder of revisions, the tables they lead to, and the table that holds the database's revision."""

    def __init__(self, folder: Path, service: str, version_table: str, metadata: MetaData) -> None:
        self.script = ScriptDirectory(folder.parent, version_locations=[folder])
        self.service = service
        self.version_table = version_table
        self.metadata = metadata

    def upgrade(self, connection: Connection) -> bool:
        """Runs the revisions that the database does not have; returns True if there were any."""
        context = self._context(connection, fn=self._steps_to_head)
        before = context.get_current_heads()
        self._require_known(before)
        with context.begin_transaction(), Operations.context(context):
            context.run_migrations()
        return context.get_current_heads() != before

    def differences(self, connection: Connection, other_tables: Iterable[str]) -> list[Any]:
        """Returns what the declared tables have and the database has not, and the reverse."""
        context = self._context(connection, include_name=_all_tables_but(other_tables))
        return list(compare_metadata(context, self.metadata))

    def _require_known(self, revisions: Iterable[str]) -> None:
        known = {script.revision for script in self.script.walk_revisions()}
        if unknown := sorted(set(revisions) - known):
            raise UnknownRevision(
                f"the database of {self.service} is from another version of Fanout ({self.version_table} is "
                f"{unknown[0]}, which this version does not have): remove all data with `fanout down --wipe` "
                "(containers: `docker compose down -v`) and start again"
            )

    def _steps_to_head(self, revision: Any, _: MigrationContext) -> Any:
        return self.script._upgrade_revs("head", revision)

    def _context(self, connection: Connection, **opts: Any) -> MigrationContext:
        return MigrationContext.configure(connection, opts={"version_table": self.version_table} | opts)


def _revisions(service: Service) -> tuple[Revisions, Revisions]:
    chassis_folder, own_folder = Path(__file__).parent / "revisions", SERVICES / service.name / "migrations"
    return (
        Revisions(chassis_folder, service.name, "chassis_version", database.metadata),
        Revisions(own_folder, service.name, "service_version", service.metadata),
    )


def _all_tables_but(excluded: Iterable[str]) -> Callable[[str | None, str, Any], bool]:
    names = set(excluded)

    def include(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name not in names

    return include
