"""Validates a corrected payload: it must fit its contract, be of the record's own order, and have no masked secret.

A correction is sent under the record's own event id, so a correction of another order would change that order, and the
record's own order would wait for ever. What binds it is therefore the record, and not only what could be decoded of it:

| the record has                               | the corrected event must have                      |
|----------------------------------------------|----------------------------------------------------|
| an event that was decoded                    | its key                                            |
| a key and no other `ce_subject`              | that key                                           |
| no usable key, but a `ce_subject`            | that subject, which is the key of the event        |
| a key, and a `ce_subject` that says another  | one of the two; who corrects knows which was wrong |
| neither                                      | any key: the operator's word, with his name        |
| a type of its topic                          | that type                                          |
| no type, an unknown one or one of another topic | the type in the request, which must be of the topic |
| a `ce_id` that is no UUID, or none           | (gets an id made from where the record was)        |

A key is usable if it is UTF-8 and not empty. The topic cannot be corrected: a redriven record goes to its own consumer.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from chassis.events.avro import YEAR_10000_MS
from chassis.events.record import EVENT_TYPES
from chassis.outbox.table import load_headers
from schemas import Event
from schemas.secrets import StillMasked, restored
from schemas.validation import ValidationError, validate
from services.dead_letters.actions import NoConsumer

LONGEST_SHOWN = 100


def corrected(
    dead_letter: Row[Any],
    earlier: Sequence[Mapping[str, Any]],
    type_name: str | None,
    document: Mapping[str, Any],
) -> Event:
    """Returns the event to send instead. Raises ValidationError, whose fields are those of the request.

    A secret that came back as it was shown, masked, is taken from the dead letter or from its `earlier` corrections.
    Raises NoConsumer for a dead letter of a topic that has no events.
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
    allowed = keys_of(dead_letter, event_type)
    if allowed and event.key not in allowed:
        names = " or ".join(key[:LONGEST_SHOWN] for key in allowed)
        message = f"must be {names}, as in the record itself: it is sent under the same event id"
        raise ValidationError([(f"correction.{event.KEY}", message)])
    return event


def type_of(dead_letter: Row[Any], given: str | None) -> type[Event]:
    """Returns the dead letter's own type if events of its topic have it, else the type that the request gives."""
    of_topic = {name: it for name, it in EVENT_TYPES.items() if dead_letter.topic == it.TOPIC}
    if not of_topic:
        raise NoConsumer
    own = of_topic.get(dead_letter.type or "")
    if own and given not in (None, own.NAME):
        raise ValidationError([("type", f"must be {own.NAME}, the type of the dead letter")])
    if found := own or of_topic.get(given or ""):
        return found
    raise ValidationError([("type", f"name what the dead letter should have been: {', '.join(of_topic)}")])


def keys_of(dead_letter: Row[Any], event_type: type[Event]) -> Collection[str]:
    """Returns the keys that the record names itself, at most two; none means that it names no order."""
    if dead_letter.event:
        return [str(json.loads(dead_letter.event)[event_type.KEY])]
    subject = next(
        (value for name, value in reversed(load_headers(dead_letter.headers)) if name == "ce_subject"), None
    )
    return list(dict.fromkeys(key for key in map(usable, (dead_letter.key, subject)) if key))


def usable(key: bytes | None) -> str:
    """Returns the key as text, or "" if no event can have it."""
    try:
        return (key or b"").decode()
    except UnicodeDecodeError:
        return ""
