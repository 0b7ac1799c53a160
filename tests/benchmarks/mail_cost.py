"""`python -m tests.benchmarks.mail_cost`: CPU per message of the sender, the local mail server, and Postgres.

On the running stack's Postgres (`fanout up`), in a database of its own. First a backlog is sent, then messages
that are written at a steady rate. Postgres counts with the backends that serve the sender, not those that write.
Wait some minutes between runs: ext4 makes new files ten times slower where many were deleted a moment ago.
"""

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from uuid import uuid4

import psutil
import uvloop
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url

from chassis.config import Settings
from chassis.database import Database
from chassis.migrations import migrate
from chassis.service import load
from fanout.local.ports import HOST
from fanout.local.stack_directory import current
from fanout.local.topology import MAILBOX
from fanout.running import running
from services.notifications.domain import placed, shipped
from services.notifications.sender import send
from services.notifications.service import write
from tests.benchmarks.workbench import SERVICE, order_placed
from tests.support.databases import administer
from tests.support.stack import free_base

SENDER = "mail-cost-sender"
UNSENT = text("SELECT count(*) FROM messages WHERE sent_at IS NULL")
BACKENDS = text("SELECT pid FROM pg_stat_activity WHERE application_name = :name")
BODIES = {"order_placed": placed("1", 2980, "EUR"), "order_shipped": shipped("1", "FAN-1234567890")}

_numbers = count()


async def main(messages: int, rate: float, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, mail_server(Path(folder) / "mail") as (server, smtp):
        async with new_database() as url, sending(url, smtp) as sender:
            database = Database(url)
            parts = {"sender": sender, "server": server}
            before = await cpu_seconds(database, parts)
            began = time.perf_counter()
            await tell(database, messages)
            await all_sent(database)
            elapsed = time.perf_counter() - began
            report(f"{messages:,} at once", before, await cpu_seconds(database, parts), messages)
            print(f"  {messages / elapsed:,.0f} messages/s")

            before = await cpu_seconds(database, parts)
            written = await tell_steadily(database, rate, seconds)
            await all_sent(database)
            report(f"{rate:.0f}/s", before, await cpu_seconds(database, parts), written)

            before = await cpu_seconds(database, parts)
            await asyncio.sleep(seconds)
            after = await cpu_seconds(database, parts)
            idle = sum(after.values()) - sum(before.values())
            print(f"nothing to send: {idle / seconds * 1000:.1f} ms of CPU a second")
            await database.close()


@contextmanager
def mail_server(folder: Path) -> Iterator[tuple[int, str]]:
    """The process id and the address of the stack's mail server, on a port of its own."""
    port = free_base()
    command = [sys.executable, "-m", "fanout.local.smtp_server", HOST, str(port), str(folder)]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid, f"{HOST}:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0, MAILBOX


@asynccontextmanager
async def new_database() -> AsyncIterator[str]:
    """Drops it at the end."""
    server = postgres_server()
    name = f"benchmark_{uuid4().hex[:8]}"
    url = server.set(database=name).render_as_string(hide_password=False)
    await administer(server, f"CREATE DATABASE {name}")
    try:
        await migrate(load(SERVICE), url)
        yield url
    finally:
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def postgres_server() -> URL:
    password = current().passwords(["postgres"])["postgres"]
    return make_url(running().databases[SERVICE]).set(
        username="postgres", password=password, database="postgres"
    )


@asynccontextmanager
async def sending(url: str, smtp: str) -> AsyncIterator[int]:
    """The id of a process that does nothing but send."""
    process = get_context("spawn").Process(target=send_until_told, args=(url, smtp))
    process.start()
    assert process.pid
    try:
        yield process.pid
    finally:
        process.terminate()
        process.join()


def send_until_told(url: str, smtp: str) -> None:
    uvloop.run(_send(url, smtp))


async def _send(url: str, smtp: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    database = Database(url, application=SENDER)
    await send(database, Settings(database_url=url, smtp=smtp), stop)
    await database.close()


async def tell(database: Database, messages: int) -> None:
    half = [(order_placed(next(_numbers)), "") for _ in range(messages // 2)]
    async with database.transaction() as db:
        for kind, body in BODIES.items():
            await write(db, kind, [(news, body) for news, _ in half])


async def tell_steadily(database: Database, rate: float, seconds: float) -> int:
    """Two messages in each transaction."""
    pairs = int(rate * seconds / 2)
    began = time.perf_counter()
    for number in range(pairs):
        await asyncio.sleep(began + number * 2 / rate - time.perf_counter())
        await tell(database, 2)
    return pairs * 2


async def all_sent(database: Database) -> None:
    while True:
        async with database.transaction() as db:
            if not (await db.execute(UNSENT)).scalar_one():
                return
        await asyncio.sleep(0.2)


async def cpu_seconds(database: Database, parts: Mapping[str, int]) -> dict[str, float]:
    """Used so far, by part; once the sender is connected."""
    backends: list[int] = []
    while not backends:
        await asyncio.sleep(0.2)
        async with database.transaction() as db:
            backends = list((await db.execute(BACKENDS, {"name": SENDER})).scalars())
    own = {part: used(pid) for part, pid in parts.items()}
    return own | {"postgres": sum(map(used, backends))}


def used(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def report(what: str, before: Mapping[str, float], after: Mapping[str, float], messages: int) -> None:
    each = {part: (after[part] - before[part]) / messages * 1000 for part in before}
    print(
        f"{what}: {', '.join(f'{part} {ms:.2f}' for part, ms in each.items())}; sender and server together "
        f"{each['sender'] + each['server']:.2f} ms of CPU a message",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m tests.benchmarks.mail_cost", description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=60)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    asyncio.run(main(given.messages, given.rate, given.seconds))
