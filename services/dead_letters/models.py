"""What goes in and out over HTTP. Bytes go out as hex, and what is cut says so."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from chassis.timestamps import Timestamp
from services.dead_letters.domain import Deed, Status
from services.dead_letters.search import Filter

Words = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00]*$")
]
Name = Annotated[str, Field(pattern=r"^[^\x00]{1,249}$")]


class Deciding(BaseModel):
    model_config = ConfigDict(extra="forbid")
    who: Words
    why: Words


class Redriving(Deciding):
    """`correction` takes the place of what the letter says; `type` is for a letter that does not say what it is."""

    correction: dict[str, Any] | None = None
    type: Name | None = None

    @model_validator(mode="after")
    def names_a_type_only_for_a_correction(self) -> "Redriving":
        if self.type is not None and self.correction is None:
            raise PydanticCustomError("type", "a type is for a correction, and there is none")
        return self


class DecidingMany(Deciding):
    """Everything parked that fits all filters. `all` must be said, when no filter is given."""

    consumer: Name | None = None
    topic: Name | None = None
    reason: Name | None = None
    since: Timestamp | None = None
    until: Timestamp | None = None
    all: bool = False
    after: int = Field(default=0, ge=0, lt=2**63)
    limit: int | None = Field(default=None, ge=1, le=1_000_000)

    @property
    def filter(self) -> Filter:
        return Filter(self.consumer, self.topic, self.reason, self.since, self.until)

    @model_validator(mode="after")
    def is_not_everything_by_oversight(self) -> "DecidingMany":
        if self.all == (self.filter != Filter()):
            raise PydanticCustomError("all", "give a filter, or all: true for everything that is parked")
        return self


class DiscardingMany(DecidingMany):
    consumer_is_gone: bool = False
    """Then also what was sent back to it, which otherwise is its own by now."""

    @model_validator(mode="after")
    def says_which_consumer_is_gone(self) -> "DiscardingMany":
        if self.consumer_is_gone and self.consumer is None:
            raise PydanticCustomError("consumer_is_gone", "name the consumer that is gone")
        return self


class Done(BaseModel):
    """`next_after` goes on where this stopped; null when nothing is left that matches."""

    letters: int
    next_after: int | None


class Line(BaseModel):
    """A letter in a list; `value` is the beginning of it."""

    letter_id: int
    consumer: str
    topic: str
    partition: int
    kafka_offset: int
    type: str | None
    event_id: UUID | None
    key: str | None
    status: Status
    failure: str
    error_type: str
    error_message: str
    attempts: int
    redrive: int
    first_failed_at: datetime
    last_failed_at: datetime
    decode_error: str | None
    value: str | None
    value_bytes: int | None


class Page(BaseModel):
    letters: list[Line]
    next_after: int | None


class HeaderResponse(BaseModel):
    name: str
    value: str | None


class ActionResponse(BaseModel):
    at: datetime
    who: str
    what: Deed
    why: str
    redrive: int
    correction: dict[str, Any] | None


class LetterResponse(Line):
    record_at: datetime
    event: dict[str, Any] | None
    headers: list[HeaderResponse]
    cut: list[str]
    """Which of value, headers and key are longer than what is shown."""
    actions: list[ActionResponse]
