"""Lists, shows, redrives (with a correction if need be) and discards dead letters over HTTP."""

from time import monotonic
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.http.app import Db, Problem, create_api, refusals, with_examples
from chassis.http.auth import Operator
from chassis.http.idempotency import Idempotent
from chassis.timestamps import Timestamp
from schemas.validation import ValidationError
from services.dead_letters import actions
from services.dead_letters.actions import NoConsumer, Reason
from services.dead_letters.correction import corrected
from services.dead_letters.domain import Refused, Status
from services.dead_letters.models import (
    BULK_DISCARDS,
    BULK_REDRIVES,
    DISCARDS,
    LARGEST_ID,
    REDRIVES,
    ActionRequest,
    BulkDiscardRequest,
    BulkRequest,
    BulkResponse,
    DeadLetterPageResponse,
    DeadLetterResponse,
    Name,
    RedriveRequest,
)
from services.dead_letters.responses import read, summaries, summary
from services.dead_letters.search import Filter, matching
from services.dead_letters.service import service
from services.dead_letters.tables import dead_letters

app = create_api(
    service,
    "Shows messages that a consumer could not process, sends them to it again, corrected if need be, or discards them.",
    {
        "dead letters": "What was parked, why, and what became of it. They need an operator's token.",
        "one": "Redrive or discard one message.",
        "many": "Redrive or discard everything that matches a filter.",
    },
    limits_time=False,
)

MOST_ERRORS = 20
BULK_SECONDS = 10.0
"""After this time a bulk request begins no new transaction: its answer says where the next request continues."""

UNKNOWN = {404: ("unknown dead letter", "There is no dead letter 7.")}
NOT_REDRIVEN = UNKNOWN | {409: ("cannot be redriven", "Dead letter 7 cannot be redriven: it was discarded.")}
NOT_DISCARDED = UNKNOWN | {
    409: ("cannot be discarded", "Dead letter 7 cannot be discarded: its consumer may have applied it.")
}

DeadLetterId = Annotated[int, Path(ge=1, le=LARGEST_ID, examples=[1])]
Redrive = Annotated[RedriveRequest, with_examples(REDRIVES)]
Discard = Annotated[ActionRequest, with_examples(DISCARDS)]
BulkRedrive = Annotated[BulkRequest, with_examples(BULK_REDRIVES)]
BulkDiscard = Annotated[BulkDiscardRequest, with_examples(BULK_DISCARDS)]
Limit = Annotated[int, Query(ge=1, le=200)]
After = Annotated[int, Query(ge=0, le=LARGEST_ID)]


async def filter_from_query(
    consumer: Name | None = None,
    topic: Name | None = None,
    reason: Name | None = None,
    since: Timestamp | None = None,
    until: Timestamp | None = None,
) -> Filter:
    return Filter(consumer, topic, reason, since, until)


@app.get("/dead-letters", tags=["dead letters"], summary="List dead letters")
async def list_dead_letters(
    operator: Operator,
    db: Db,
    filter: Annotated[Filter, Depends(filter_from_query)],
    status: Status | None = None,
    limit: Limit = 50,
    after: After = 0,
) -> DeadLetterPageResponse:
    """Oldest first. The next page: `after` = `next_after` of this one."""
    wanted = matching(summaries(), filter).where(dead_letters.c.dead_letter_id > after)
    if status is not None:
        wanted = wanted.where(dead_letters.c.status == status)
    rows = await db.execute(wanted.order_by(dead_letters.c.dead_letter_id).limit(limit))
    page = [summary(row) for row in rows]
    return DeadLetterPageResponse(
        dead_letters=page, next_after=page[-1].dead_letter_id if len(page) == limit else None
    )


@app.get(
    "/dead-letters/{dead_letter_id}",
    responses=refusals(UNKNOWN),
    tags=["dead letters"],
    summary="Show a dead letter",
)
async def show_dead_letter(operator: Operator, dead_letter_id: DeadLetterId, db: Db) -> DeadLetterResponse:
    """Shows it with its event, its headers and everything that operators did with it. Secrets are masked."""
    return await show(db, dead_letter_id)


@app.post(
    "/dead-letters/{dead_letter_id}/redrive",
    response_model=DeadLetterResponse,
    responses=refusals(NOT_REDRIVEN),
    tags=["one"],
    summary="Redrive a dead letter",
)
async def redrive_dead_letter(
    operator: Operator, dead_letter_id: DeadLetterId, body: Redrive, request: Idempotent
) -> Response:
    """Sends it again to the consumer that parked it, and to no other: as it was, or with `correction` as its event."""
    return await request.run(body, redrive, dead_letter_id, body, operator.subject)


@app.post(
    "/dead-letters/{dead_letter_id}/discard",
    response_model=DeadLetterResponse,
    responses=refusals(NOT_DISCARDED),
    tags=["one"],
    summary="Discard a dead letter",
)
async def discard_dead_letter(
    operator: Operator, dead_letter_id: DeadLetterId, body: Discard, request: Idempotent
) -> Response:
    """Says that it is to have no effect. It stays in the list as discarded, with the reason."""
    return await request.run(body, discard, dead_letter_id, Reason(operator.subject, body.why))


@app.post("/dead-letters/redrive", tags=["many"], summary="Redrive many")
async def redrive_many(operator: Operator, body: BulkRedrive, request: Request) -> BulkResponse:
    """Redrives for ten seconds at most; `next_after` is the `after` of the request that continues, null at the end.

    Repeating the request after a time-out is safe without a key: it redrives only what is still parked.
    """
    return await page_by_page(body, actions.redrive_page, operator.subject, request)


@app.post("/dead-letters/discard", tags=["many"], summary="Discard many")
async def discard_many(operator: Operator, body: BulkDiscard, request: Request) -> BulkResponse:
    """Discards for ten seconds at most; `next_after` is the `after` of the request that continues, null at the end.

    Repeating the request after a time-out is safe without a key: it discards only what is still parked.
    """
    act = actions.discard_page_of_removed_consumer if body.consumer_is_gone else actions.discard_page
    return await page_by_page(body, act, operator.subject, request)


async def redrive(
    db: AsyncConnection, dead_letter_id: int, body: RedriveRequest, who: str
) -> DeadLetterResponse:
    if (dead_letter := await actions.lock(db, dead_letter_id)) is None:
        raise not_found(dead_letter_id)
    try:
        event = None
        if body.correction is not None and dead_letter.status != "discarded":
            earlier = await actions.corrections(db, dead_letter_id)
            event = corrected(dead_letter, earlier, body.type, body.correction)
        await actions.redrive_one(db, dead_letter, Reason(who, body.why), event)
    except ValidationError as invalid:
        raise invalid_correction(invalid) from invalid
    except NoConsumer as error:
        detail = (
            f"No consumer parked dead letter {dead_letter_id}, so there is none to redrive it to. Discard it."
        )
        raise Problem(409, "no consumer", detail, dead_letter_id=dead_letter_id) from error
    except Refused as refusal:
        raise refused(dead_letter_id, "redriven", refusal) from refusal
    return await show(db, dead_letter_id)


async def discard(db: AsyncConnection, dead_letter_id: int, reason: Reason) -> DeadLetterResponse:
    if (dead_letter := await actions.lock(db, dead_letter_id)) is None:
        raise not_found(dead_letter_id)
    try:
        await actions.discard_one(db, dead_letter, reason)
    except Refused as refusal:
        raise refused(dead_letter_id, "discarded", refusal) from refusal
    return await show(db, dead_letter_id)


async def page_by_page(body: BulkRequest, act: actions.ActOnPage, who: str, request: Request) -> BulkResponse:
    """Acts in transactions of bounded size, for some seconds; committed pages stay done if a later one fails."""
    count, after, reason, end = 0, body.after, Reason(who, body.why), monotonic() + BULK_SECONDS
    while (body.limit is None or count < body.limit) and monotonic() < end:
        size = min(actions.PAGE_SIZE, (body.limit or count + actions.PAGE_SIZE) - count)
        async with request.app.state.database.transaction() as db:
            page = await act(db, body.filter, actions.Span(after, size), reason)
        if not page:
            return BulkResponse(count=count, next_after=None)
        count, after = count + len(page), page[-1]
    return BulkResponse(count=count, next_after=after)


async def show(db: AsyncConnection, dead_letter_id: int) -> DeadLetterResponse:
    if (dead_letter := await read(db, dead_letter_id)) is None:
        raise not_found(dead_letter_id)
    return dead_letter


def not_found(dead_letter_id: int) -> Problem:
    detail = f"There is no dead letter {dead_letter_id}."
    return Problem(404, "unknown dead letter", detail, dead_letter_id=dead_letter_id)


def refused(dead_letter_id: int, action: str, why: Refused) -> Problem:
    detail = f"Dead letter {dead_letter_id} cannot be {action}: {why}."
    return Problem(409, f"cannot be {action}", detail, dead_letter_id=dead_letter_id)


def invalid_correction(invalid: ValidationError) -> Problem:
    errors = [{"field": field, "message": message} for field, message in invalid.errors[:MOST_ERRORS]]
    return Problem(422, "invalid correction", str(invalid)[:1000], errors=errors)
