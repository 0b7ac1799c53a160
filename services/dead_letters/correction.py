"""Validates a corrected payload: it must fit the event's schema, keep its aggregate id, and have no masked secret."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from chassis.events.avro import YEAR_10000_MS
from chassis.events.record import EVENT_TYPES
from schemas import Event
from schemas.secrets import StillMasked, restored
from schemas.validation import ValidationError, validate


def corrected(
    dead_letter: Row[Any],
    earlier: Sequence[Mapping[str, Any]],
    type_name: str | None,
    document: Mapping[str, Any],
) -> Event:
    """Returns the event to send instead. Raises ValidationError, whose fields are those of the request.

    A secret that came back as it was shown, masked, is taken from the dead letter or from its `earlier` corrections.
    """
    event_type = type_of(dead_letter, type_name)
    originals = [json.loads(dead_letter.event), *earlier] if dead_letter.event else earlier
    try:
        event = validate(event_type, restored(document, originals))
    except StillMasked as unknown:
        raise ValidationError([(f"correction.{unknown.path}", str(unknown))]) from unknown
    except ValidationError as invalid:
        errors = [(f"correction.{field}".rstrip("."), message) for field, message in invalid.errors]
        raise ValidationError(errors) from invalid
    if not 0 <= event.occurred_at < YEAR_10000_MS:
        raise ValidationError([("correction.occurred_at", "is not a time, in milliseconds since 1970")])
    if dead_letter.event and event.key != (was := json.loads(dead_letter.event).get(event.KEY)):
        raise ValidationError(
            [(f"correction.{event.KEY}", f"must stay {was}: it is sent under the same event id")]
        )
    return event


def type_of(dead_letter: Row[Any], given: str | None) -> type[Event]:
    """Returns the dead letter's own type if events of its topic have it, else the type that the request gives."""
    of_topic = {name: it for name, it in EVENT_TYPES.items() if dead_letter.topic == it.TOPIC}
    own = of_topic.get(dead_letter.type or "")
    if own and given not in (None, own.NAME):
        raise ValidationError([("type", f"must be {own.NAME}, the type of the dead letter")])
    if found := own or of_topic.get(given or ""):
        return found
    raise ValidationError([("type", f"name what the dead letter should have been: {', '.join(of_topic)}")])
