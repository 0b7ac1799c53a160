"""A moment in a request: ISO 8601 with its time zone, so that nobody has to guess."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError


def moment(given: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(given))
    except ValueError as error:
        raise PydanticCustomError("moment", "not an ISO 8601 time, such as 2026-03-01T12:00:00Z") from error
    if at.tzinfo is None:
        raise PydanticCustomError("moment", "a time needs its zone, such as the Z of 2026-03-01T12:00:00Z")
    if not 1970 < at.year < 9999:
        raise PydanticCustomError("moment", "nothing happened here in that year")
    return at.astimezone(UTC)


Moment = Annotated[datetime, BeforeValidator(moment)]
