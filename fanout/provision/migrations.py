"""Each service's migrations, run by the chassis in one process of their own: importing it takes longer than they do."""

import asyncio
import json
import subprocess
import sys

import asyncpg

from fanout.errors import SetupFailed
from fanout.local.process import environment
from fanout.repository import REPOSITORY


def migrate(databases: dict[str, str]) -> list[str]:
    """`databases` maps services to SQLAlchemy URLs."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(databases),
        cwd=REPOSITORY,
        env=environment({}),
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if done.returncode != 0:
        raise SetupFailed(done.stderr.strip())
    return done.stdout.splitlines()


async def all_subscriptions(databases: dict[str, str]) -> list[tuple[str, str]]:
    return [pair for url in databases.values() for pair in await subscriptions(url)]


async def subscriptions(url: str) -> list[tuple[str, str]]:
    """Which consumer of this database listens to which topic."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT DISTINCT consumer, topic FROM subscriptions ORDER BY 1, 2")
        return [(row["consumer"], row["topic"]) for row in rows]
    finally:
        await connection.close()


async def _migrate_all(databases: dict[str, str]) -> None:
    from chassis.migrations import UnknownRevision, migrate
    from chassis.service import load

    for name, url in databases.items():
        try:
            for change in await migrate(load(name), url):
                print(f"{name}: {change}")
        except UnknownRevision as error:
            sys.exit(str(error))
        except Exception as error:
            sys.exit(f"the migrations failed: {name}: {type(error).__name__}: {error}")


if __name__ == "__main__":
    asyncio.run(_migrate_all(json.load(sys.stdin)))
