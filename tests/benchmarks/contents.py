"""`python -m tests.benchmarks.contents`: how long the checks of contents take for millions of events.

The orders of tests/benchmarks/honest_orders.py are in a Postgres of their own. Prints what `fanout verify` spends on
its checks: seconds, seconds of processor time in the tool, its peak of memory, and what was violated: nothing.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from time import monotonic, process_time

import asyncpg
from sqlalchemy import make_url

from fanout.console import say
from fanout.local import temporary_postgres
from fanout.verify.contents import comparison
from fanout.verify.invariants import discover
from tests.benchmarks.honest_orders import EVENTS_OF_AN_ORDER, fill
from tests.support.databases import named_url
from tests.support.simulated_system import create


def main(events: int) -> None:
    with temporary_postgres.temporary_postgres() as ports:
        asyncio.run(temporary_postgres.until_ready(ports))
        password = temporary_postgres.PASSWORD
        server = make_url(f"postgresql+asyncpg://postgres:{password}@127.0.0.1:{ports.postgres}/postgres")
        names = asyncio.run(create(server, "contents"))
        urls = {service: named_url(server, name) for service, name in names.items()}
        asyncio.run(_fill(urls, events // EVENTS_OF_AN_ORDER))
        command = [sys.executable, "-m", "tests.benchmarks.contents", "--measure"]
        subprocess.run(command, input=json.dumps(urls), text=True, check=True)


async def _fill(urls: dict[str, str], orders: int) -> None:
    databases = {service: await asyncpg.connect(url.replace("+asyncpg", "")) for service, url in urls.items()}
    await fill(databases, orders, say)
    for db in databases.values():
        await db.close()


def measure() -> None:
    urls = json.load(sys.stdin)
    began = monotonic()
    verdicts = asyncio.run(comparison.verdicts(urls, discover()))
    seconds, megabytes = monotonic() - began, _peak_megabytes()
    violated = [verdict.sentence for verdict in verdicts if verdict.offenders]
    print(
        f"{len(verdicts)} checks in {seconds:.1f} s, {process_time():.1f} s of them in the tool; {megabytes:.0f} MB"
    )
    print(f"violated: {', '.join(violated) or 'none'}")


def _peak_megabytes() -> float:
    """Of this process alone: what getrusage says includes the process that started it."""
    status = Path("/proc/self/status").read_text().splitlines()
    [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    return peak / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure()
    else:
        main(given.events)
