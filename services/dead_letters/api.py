"""Dead letters over HTTP: found, looked at, sent back to their consumer, corrected if need be, or discarded."""

from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api
from chassis.http.idempotency import Idempotent
from chassis.timestamps import Timestamp
from schemas.fitting import Misfit
from services.dead_letters import deeds
from services.dead_letters.correction import corrected
from services.dead_letters.deeds import NobodyReads, Reason
from services.dead_letters.domain import Refused, Status
from services.dead_letters.models import (
    Deciding,
    DecidingMany,
    DiscardingMany,
    Done,
    LetterResponse,
    Name,
    Page,
    Redriving,
)
from services.dead_letters.search import Filter, matching
from services.dead_letters.service import service
from services.dead_letters.shown import line, lines, read
from services.dead_letters.tables import letters

app = create_api(service, limits_time=False)

FAULTS_NAMED = 20

LetterId = Annotated[int, Path(ge=1, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[int, Query(ge=0, lt=2**63)]


async def asked_for(
    consumer: Name | None = None,
    topic: Name | None = None,
    reason: Name | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
) -> Filter:
    return Filter(consumer, topic, reason, since, until)


@app.get("/letters")
async def list_letters(
    db: Db,
    asked: Annotated[Filter, Depends(asked_for)],
    status: Status | None = None,
    limit: Limit = 50,
    after: After = 0,
) -> Page:
    """Oldest first. The next page: `after` = `next_after` of this one."""
    wanted = matching(lines(), asked).where(letters.c.letter_id > after)
    if status is not None:
        wanted = wanted.where(letters.c.status == status)
    page = [line(row) for row in await db.execute(wanted.order_by(letters.c.letter_id).limit(limit))]
    return Page(letters=page, next_after=page[-1].letter_id if len(page) == limit else None)


@app.get("/letters/{letter_id}")
async def show_letter(letter_id: LetterId, db: Db) -> LetterResponse:
    return await show(letter_id, db)


@app.post("/letters/{letter_id}/redrive", response_model=LetterResponse)
async def redrive_letter(letter_id: LetterId, asked: Redriving, request: Idempotent) -> Response:
    return await request.run(asked, redrive, letter_id, asked)


@app.post("/letters/{letter_id}/discard", response_model=LetterResponse)
async def discard_letter(letter_id: LetterId, asked: Deciding, request: Idempotent) -> Response:
    return await request.run(asked, discard, letter_id, asked)


@app.post("/letters/redrive")
async def redrive_letters(asked: DecidingMany, request: Request) -> Done:
    """Asking again after a time-out is safe without a key: only what is still parked is sent back."""
    return await page_by_page(asked, deeds.redrive_page, request)


@app.post("/letters/discard")
async def discard_letters(asked: DiscardingMany, request: Request) -> Done:
    act = deeds.bury_page if asked.consumer_is_gone else deeds.discard_page
    return await page_by_page(asked, act, request)


async def redrive(db: AsyncConnection, letter_id: int, asked: Redriving) -> LetterResponse:
    if (letter := await deeds.lock(letter_id, db)) is None:
        raise not_found(letter_id)
    try:
        event = None
        if asked.correction is not None and letter.status != "discarded":
            event = corrected(letter, asked.type, asked.correction)
        await deeds.redrive_one(letter, Reason(asked.who, asked.why), event, db)
    except Misfit as misfit:
        raise unfit(misfit) from misfit
    except NobodyReads as nobody:
        detail = f"No consumer parked letter {letter_id}: there is nobody to send it back to. Discard it."
        raise Problem(409, "no way back", detail, letter_id=letter_id) from nobody
    except Refused as refusal:
        raise refused(letter_id, "sent back", refusal) from refusal
    return await show(letter_id, db)


async def discard(db: AsyncConnection, letter_id: int, asked: Deciding) -> LetterResponse:
    if (letter := await deeds.lock(letter_id, db)) is None:
        raise not_found(letter_id)
    try:
        await deeds.discard_one(letter, Reason(asked.who, asked.why), db)
    except Refused as refusal:
        raise refused(letter_id, "discarded", refusal) from refusal
    return await show(letter_id, db)


async def page_by_page(asked: DecidingMany, act: deeds.Act, request: Request) -> Done:
    """In transactions of bounded size. What was done is done, also if a later page fails."""
    done, after, reason = 0, asked.after, Reason(asked.who, asked.why)
    while asked.limit is None or done < asked.limit:
        at_once = min(deeds.AT_ONCE, (asked.limit or done + deeds.AT_ONCE) - done)
        async with request.app.state.database.transaction() as db:
            page = await act(asked.filter, deeds.Span(after, at_once), reason, db)
        if not page:
            return Done(letters=done, next_after=None)
        done, after = done + len(page), page[-1]
    return Done(letters=done, next_after=after)


async def show(letter_id: int, db: AsyncConnection) -> LetterResponse:
    if (letter := await read(letter_id, db)) is None:
        raise not_found(letter_id)
    return letter


def not_found(letter_id: int) -> Problem:
    return Problem(404, "unknown letter", f"There is no letter {letter_id}.", letter_id=letter_id)


def refused(letter_id: int, what: str, why: Refused) -> Problem:
    detail = f"DeadLetter {letter_id} cannot be {what}: {why}."
    return Problem(409, f"cannot be {what}", detail, letter_id=letter_id)


def unfit(misfit: Misfit) -> Problem:
    errors = [{"field": field, "message": fault} for field, fault in misfit.faults[:FAULTS_NAMED]]
    return Problem(422, "invalid correction", str(misfit)[:1000], errors=errors)
