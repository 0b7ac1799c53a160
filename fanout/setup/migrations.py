"""Each service's migrations, run by the chassis in processes of their own."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import asyncpg

from fanout.errors import SetupFailed
from fanout.stack.home import REPOSITORY
from fanout.stack.process import environment

AT_ONCE = 2
UNCHANGED = "nothing to do"


def migrate(databases: dict[str, str]) -> list[str]:
    """`databases` maps services to SQLAlchemy URLs."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = list(pool.map(_migrate_one, databases, databases.values()))
    return [f"migrations of {line}" for line in said if UNCHANGED not in line]


def _migrate_one(service: str, url: str) -> str:
    """What the chassis says it did, in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "chassis", "migrate", service],
        cwd=REPOSITORY,
        env=environment({"FANOUT_DATABASE_URL": url}),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = (done.stdout + done.stderr).strip().splitlines()[-15:]
        raise SetupFailed("\n".join([f"the migrations of {service} failed:", *reason]))
    return done.stdout.strip()


async def subscriptions(url: str) -> list[tuple[str, str]]:
    """Which consumer of this database listens to which topic."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        rows = await connection.fetch("SELECT DISTINCT consumer, topic FROM subscriptions ORDER BY 1, 2")
        return [(row["consumer"], row["topic"]) for row in rows]
    finally:
        await connection.close()
