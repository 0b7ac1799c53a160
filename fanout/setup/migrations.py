"""Each service's migrations, run by the chassis, in processes of their own."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import asyncpg

from fanout.errors import SetupFailed

AT_ONCE = 2


def migrate(databases: dict[str, str]) -> list[str]:
    """`databases` maps services to SQLAlchemy URLs. The chassis is imported once and forked for each service."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["chassis.migrations", "chassis.service"])
    with ProcessPoolExecutor(AT_ONCE, context, max_tasks_per_child=1) as pool:
        changes = pool.map(_migrate_one, databases, databases.values())
        return [change for service in changes for change in service]


def _migrate_one(service: str, url: str) -> Iterable[str]:
    from chassis.migrations import migrate
    from chassis.service import load

    try:
        return [f"{service}: {change}" for change in asyncio.run(migrate(load(service), url))]
    except Exception as error:
        raise SetupFailed(f"the migrations of {service} failed: {error}") from None


async def subscriptions(url: str) -> list[tuple[str, str]]:
    """Which consumer of this database listens to which topic."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT DISTINCT consumer, topic FROM subscriptions ORDER BY 1, 2")
        return [(row["consumer"], row["topic"]) for row in rows]
    finally:
        await connection.close()
