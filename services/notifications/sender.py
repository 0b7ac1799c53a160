"""Delivers messages over SMTP at least once: a row is marked after the server took it, so a crash in between
sends it again, with the same Message-ID. The mail server may be slow or down for as long as it likes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from sqlalchemy import text

from chassis.config import Settings
from chassis.database import Database
from chassis.failures import FailureClass, classify
from chassis.outages import Stopped, pause, through_outages
from services.notifications.domain import Message
from services.notifications.post import Answer, Post

AT_ONCE = 50
IDLE_SECONDS = 0.5
ROUND_SECONDS = 1.0
"""Nothing new is handed over after this, so that a crash repeats no more than a second's work."""
UNANSWERED_SECONDS = 30.0
STOPPING_SECONDS = 3.0
LEASE_SECONDS = 45.0
"""Longer than a round can last: meanwhile no other worker takes these rows."""

TAKE = text("""
    WITH due AS (
        SELECT id FROM messages
        WHERE sent_at IS NULL AND refused_at IS NULL AND next_try_at <= clock_timestamp()
        ORDER BY id LIMIT :at_once FOR UPDATE SKIP LOCKED
    )
    UPDATE messages SET next_try_at = clock_timestamp() + make_interval(secs => :seconds)
    FROM due WHERE messages.id = due.id
    RETURNING messages.id, message_id, order_id, customer_id, kind, body
""")

WRITE_DOWN = {
    "sent": "sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL",
    "refused": "refused_at = clock_timestamp(), attempts = attempts + 1, last_error = :words",
    "later": "next_try_at = clock_timestamp() + interval '1 second' * power(2, least(attempts, 6)), "
    "attempts = attempts + 1, last_error = :words",
    "unreached": "next_try_at = clock_timestamp()",
}

UNREACHED = Answer("unreached")
UNKNOWN = Answer("later", "the server did not say whether it took the message")

log = structlog.get_logger()


async def send(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    if not settings.smtp:
        log.warning("no_mail_is_sent", reason="FANOUT_SMTP is not set")
        return
    post = Post(settings.smtp)
    with suppress(Stopped):
        while True:
            found = await through_outages(lambda: one_round(database, post, stop), stop, "mail", _waits)
            await pause(0 if found else IDLE_SECONDS, stop)
    await post.close()


async def one_round(database: Database, post: Post, stop: asyncio.Event) -> bool:
    """Whether there was anything to send. No transaction is open while the mail server is being talked to."""
    batch = await take(database)
    if not batch:
        return False
    answers = {message.id: UNREACHED for message in batch}
    try:
        await hand_over(post, batch, answers, stop)
    except BaseException:
        post.hang_up()
        raise
    finally:
        await through_outages(lambda: write_down(database, answers), stop, "mail", _waits)
    return True


async def take(database: Database) -> list[Message]:
    async with database.transaction() as db:
        rows = await db.execute(TAKE, {"at_once": AT_ONCE, "seconds": LEASE_SECONDS})
        return sorted((Message(*row) for row in rows), key=lambda message: message.id)


async def hand_over(
    post: Post, batch: Sequence[Message], answers: dict[int, Answer], stop: asyncio.Event
) -> None:
    enough = time.monotonic() + ROUND_SECONDS
    async with _deadline(stop):
        await post.open()
        for message in batch:
            if stop.is_set() or time.monotonic() > enough:
                return
            answers[message.id] = UNKNOWN
            answers[message.id] = await post.hand_over(message)


@asynccontextmanager
async def _deadline(stop: asyncio.Event) -> AsyncIterator[None]:
    """For the whole round; it comes sooner once the worker is told to stop."""
    async with asyncio.timeout(ROUND_SECONDS + UNANSWERED_SECONDS) as limit:
        hurrying = asyncio.create_task(_hurry(stop, limit))
        try:
            yield
        finally:
            hurrying.cancel()


async def _hurry(stop: asyncio.Event, limit: asyncio.Timeout) -> None:
    await stop.wait()
    limit.reschedule(asyncio.get_running_loop().time() + STOPPING_SECONDS)


async def write_down(database: Database, answers: Mapping[int, Answer]) -> None:
    async with database.transaction() as db:
        for outcome, changes in WRITE_DOWN.items():
            rows = [
                {"id": id, "words": answer.words}
                for id, answer in answers.items()
                if answer.outcome == outcome
            ]
            if rows:
                await db.execute(
                    text(f"UPDATE messages SET {changes} WHERE id = :id AND sent_at IS NULL"), rows
                )


def _waits(error: Exception) -> bool:
    """A lock or a deadlock is waited for as well; a bug ends the sender, which is then begun again."""
    return classify(error) is not FailureClass.PERMANENT
