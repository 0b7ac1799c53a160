"""Delivers messages over SMTP at least once: a row is marked after the server took it, so a crash in between
sends it again, with the same Message-ID. The mail server may be slow or down for as long as it likes.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import text

from chassis.config import Settings
from chassis.consumer.retry import Stopped, pause, wait_out_outages
from chassis.database import Database
from chassis.errors import FailureClass, classify
from services.notifications.domain import Message
from services.notifications.post import Answer, Post

AT_ONCE = 50
AT_ONCE_AT_MOST = 500
GATHERING_SECONDS = 0.5
"""Between rounds, unless more is waiting than one takes: mails that come one by one share a round."""
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

CHANGES = {
    "sent": "sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL",
    "refused": "refused_at = clock_timestamp(), attempts = attempts + 1, last_error = words",
    "later": "next_try_at = clock_timestamp() + interval '1 second' * power(2, least(attempts, 6)), "
    "attempts = attempts + 1, last_error = words",
    "unreached": "next_try_at = clock_timestamp()",
}
WRITE_DOWN = {
    outcome: text(f"""
        UPDATE messages SET {changes}
        FROM unnest(CAST(:ids AS bigint[]), CAST(:words AS text[])) AS answer (id, words)
        WHERE messages.id = answer.id AND sent_at IS NULL
    """)
    for outcome, changes in CHANGES.items()
}

UNREACHED = Answer("unreached")
UNKNOWN = Answer("later", "the server did not say whether it took the message")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Round:
    """How many messages were handed over, and whether others may be waiting."""

    answered: int
    may_be_more: bool


async def send(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    if not settings.smtp:
        log.warning("no_mail_is_sent", reason="FANOUT_SMTP is not set")
        return
    post, at_once = Post(settings.smtp), AT_ONCE
    with suppress(Stopped):
        while True:
            work = partial(one_round, database, post, at_once, stop)
            done = await wait_out_outages(work, stop, "mail", _waits)
            await pause(0 if done.may_be_more else GATHERING_SECONDS, stop)
            at_once = min(max(AT_ONCE, 2 * done.answered), AT_ONCE_AT_MOST)
    await post.close()


async def one_round(database: Database, post: Post, at_once: int, stop: asyncio.Event) -> Round:
    """No transaction is open while the mail server is being talked to."""
    batch = await take(database, at_once)
    if not batch:
        return Round(answered=0, may_be_more=False)
    answers = {message.id: UNREACHED for message in batch}
    try:
        await hand_over(post, batch, answers, stop)
    except BaseException:
        post.hang_up()
        raise
    finally:
        await wait_out_outages(lambda: write_down(database, answers), stop, "mail", _waits)
    answered = sum(answer is not UNREACHED for answer in answers.values())
    return Round(answered, may_be_more=len(batch) == at_once or answered < len(batch))


async def take(database: Database, at_once: int) -> list[Message]:
    async with database.transaction() as db:
        rows = await db.execute(TAKE, {"at_once": at_once, "seconds": LEASE_SECONDS})
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
        for outcome, statement in WRITE_DOWN.items():
            words = {id: answer.words for id, answer in answers.items() if answer.outcome == outcome}
            if words:
                await db.execute(statement, {"ids": list(words), "words": list(words.values())})


def _waits(error: Exception) -> bool:
    """A lock or a deadlock is waited for as well; a bug ends the sender, which is then begun again."""
    return classify(error) is not FailureClass.PERMANENT
