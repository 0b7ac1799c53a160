"""A corrected payload: accepted only if it fits the contract, and is still about the same thing."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from chassis.events.avro import YEAR_10000_MS
from chassis.events.record import EVENT_TYPES
from schemas import Event
from schemas.fitting import Misfit, fit


def corrected(letter: Row[Any], type_name: str | None, document: Mapping[str, Any]) -> Event:
    """Raises Misfit, whose fields are those of the request."""
    event_type = type_of(letter, type_name)
    try:
        event = fit(event_type, document)
    except Misfit as misfit:
        raise Misfit([(f"correction.{field}", fault) for field, fault in misfit.faults]) from misfit
    if not 0 <= event.occurred_at < YEAR_10000_MS:
        raise Misfit([("correction.occurred_at", "is not a time, in milliseconds since 1970")])
    if letter.event and event.key != (was := json.loads(letter.event).get(event.KEY)):
        raise Misfit([(f"correction.{event.KEY}", f"must stay {was}: it is sent under the same event id")])
    return event


def type_of(letter: Row[Any], named: str | None) -> type[Event]:
    """The letter's own, if that is a type of its topic; else one that the request must name."""
    carried = {name: it for name, it in EVENT_TYPES.items() if letter.topic == it.TOPIC}
    own = carried.get(letter.type or "")
    if own and named not in (None, own.NAME):
        raise Misfit([("type", f"the letter is {own.NAME} and stays that")])
    if found := own or carried.get(named or ""):
        return found
    raise Misfit([("type", f"name what the letter should have been: {', '.join(carried)}")])
