"""Takes the ledger of a running system, once or until nothing is on the way any more."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from fanout.errors import Unreachable
from fanout.verify.checkfile import Query, discover
from fanout.verify.report import Report, assess
from fanout.verify.snapshot import Databases, read

PAUSE = 0.5


async def audit(databases: Databases, queries: Sequence[Query] | None = None) -> Report:
    """With the checks of all services, unless others are given."""
    return assess(await read(databases, discover() if queries is None else queries))


async def settle(
    databases: Databases, seconds: float, progress: Callable[[Report], None] = lambda report: None
) -> Report:
    """Audits until everything has arrived or the time is over; a database may be away meanwhile."""
    deadline = monotonic() + seconds
    while True:
        try:
            report = await audit(databases)
        except Unreachable:
            if monotonic() >= deadline:
                raise
        else:
            if report.settled or monotonic() >= deadline:
                return report
            progress(report)
        await asyncio.sleep(PAUSE)
