"""Delivers messages over SMTP at least once.

A row is marked after the server accepted its mail, so a crash between the two sends the mail again, with the same
Message-ID. The mail server may be slow or down for any time; only mail is late then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog

from chassis.config import Settings
from chassis.consumer.retry import Stopped, pause, wait_out_outages
from chassis.database import Database
from chassis.errors import FailureClass, classify
from services.notifications.domain import Message
from services.notifications.mail_server import Delivery, MailServer
from services.notifications.tables import RECORD_DELIVERIES, TAKE_DUE_MESSAGES

MIN_BATCH = 50
MAX_BATCH = 500
ROUND_INTERVAL_SECONDS = 0.5
"""Pause between rounds unless more messages are due; messages that arrive one by one share a round."""
ROUND_SECONDS = 1.0
"""Time after which a round begins no new delivery, so that a crash repeats at most a second's work."""
REPLY_SECONDS = 30.0
DRAIN_SECONDS = 3.0
LEASE_SECONDS = 45.0
"""Time for which taken rows are hidden from other workers; longer than a round can last."""

NOT_ATTEMPTED = Delivery("not_attempted")
UNKNOWN = Delivery("postponed", "the mail server did not say whether it accepted the message")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Round:
    """The number of messages that were attempted, and whether more may be due."""

    attempted: int
    more_due: bool


async def send(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Sends due messages in rounds until `stop` is set; a larger batch after a round that sent its whole batch."""
    if not settings.smtp:
        log.warning("no_mail_is_sent", reason="FANOUT_SMTP is not set")
        return
    server, batch_size = MailServer(settings.smtp), MIN_BATCH
    with suppress(Stopped):
        while True:
            work = partial(send_batch, database, server, batch_size, stop)
            done = await wait_out_outages(work, stop, "mail", _is_temporary)
            await pause(0 if done.more_due else ROUND_INTERVAL_SECONDS, stop)
            batch_size = min(max(MIN_BATCH, 2 * done.attempted), MAX_BATCH)
    await server.close()


async def send_batch(database: Database, server: MailServer, batch_size: int, stop: asyncio.Event) -> Round:
    """Takes a batch, delivers it and records the outcomes. No transaction is open during delivery."""
    batch = await take(database, batch_size)
    if not batch:
        return Round(attempted=0, more_due=False)
    deliveries = {message.id: NOT_ATTEMPTED for message in batch}
    try:
        await deliver(server, batch, deliveries, stop)
    except BaseException:
        server.abort()
        raise
    finally:
        await wait_out_outages(lambda: record(database, deliveries), stop, "mail", _is_temporary)
    attempted = sum(delivery is not NOT_ATTEMPTED for delivery in deliveries.values())
    return Round(attempted, more_due=len(batch) == batch_size or attempted < len(batch))


async def take(database: Database, batch_size: int) -> list[Message]:
    """Returns due messages by id, and leases their rows to this worker for LEASE_SECONDS."""
    async with database.transaction() as db:
        rows = await db.execute(TAKE_DUE_MESSAGES, {"batch_size": batch_size, "seconds": LEASE_SECONDS})
        return sorted((Message(*row) for row in rows), key=lambda message: message.id)


async def deliver(
    server: MailServer, batch: Sequence[Message], deliveries: dict[int, Delivery], stop: asyncio.Event
) -> None:
    """Delivers the batch one by one and writes each outcome into `deliveries`; stops early after ROUND_SECONDS."""
    end = time.monotonic() + ROUND_SECONDS
    async with _deadline(stop):
        await server.connect()
        for message in batch:
            if stop.is_set() or time.monotonic() > end:
                return
            deliveries[message.id] = UNKNOWN
            deliveries[message.id] = await server.deliver(message)


async def record(database: Database, deliveries: Mapping[int, Delivery]) -> None:
    async with database.transaction() as db:
        for outcome, statement in RECORD_DELIVERIES.items():
            errors = {id: each.error for id, each in deliveries.items() if each.outcome == outcome}
            if errors:
                await db.execute(statement, {"ids": list(errors), "errors": list(errors.values())})


@asynccontextmanager
async def _deadline(stop: asyncio.Event) -> AsyncIterator[None]:
    """Limits a round to ROUND_SECONDS + REPLY_SECONDS, and to DRAIN_SECONDS once `stop` is set."""
    async with asyncio.timeout(ROUND_SECONDS + REPLY_SECONDS) as limit:
        shortening = asyncio.create_task(_shorten_on_stop(stop, limit))
        try:
            yield
        finally:
            shortening.cancel()


async def _shorten_on_stop(stop: asyncio.Event, limit: asyncio.Timeout) -> None:
    await stop.wait()
    limit.reschedule(asyncio.get_running_loop().time() + DRAIN_SECONDS)


def _is_temporary(error: Exception) -> bool:
    """Returns True for outages and for transient errors such as a lock; a bug ends the task, which is restarted."""
    return classify(error) is not FailureClass.PERMANENT
