"""Requests and responses of the dead letters API. Bytes are hex; `truncated` names what is not complete."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from chassis.timestamps import Timestamp
from services.dead_letters.domain import Action, Status
from services.dead_letters.search import Filter

Text = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=500, pattern=r"^[^\x00]*[^\s\x00\x1c-\x1f\x85\u180e\ufeff][^\x00]*$"
    ),
]
"""A text that is more than space, in the words of every engine of regular expressions: they differ in `\\s`."""
LARGEST_ID = 2**53 - 1
"""The largest integer that every reader of JSON has (RFC 7493)."""
Name = Annotated[str, Field(pattern=r"^[^\x00]{1,249}$")]


class ActionRequest(BaseModel):
    """Who acts is the subject of the token."""

    model_config = ConfigDict(extra="forbid", strict=True)
    why: Text


class RedriveRequest(ActionRequest):
    """`correction` replaces the dead letter's value; `type` is for a dead letter whose own type is unknown."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"why": "the bug is fixed"}]})
    correction: dict[str, Any] | None = None
    type: Name | None = None

    @model_validator(mode="after")
    def has_a_type_only_with_a_correction(self) -> "RedriveRequest":
        if self.type is not None and self.correction is None:
            raise PydanticCustomError("type", "a type is for a correction, and there is none")
        return self


class BulkRequest(ActionRequest):
    """Means everything parked that matches all filters. Without a filter, `all` must be true."""

    consumer: Name | None = None
    topic: Name | None = None
    reason: Name | None = None
    since: Timestamp | None = None
    until: Timestamp | None = None
    all: bool = False
    after: int = Field(default=0, ge=0, le=LARGEST_ID)
    limit: int | None = Field(default=None, ge=1, le=1_000_000)

    @property
    def filter(self) -> Filter:
        return Filter(self.consumer, self.topic, self.reason, self.since, self.until)

    @model_validator(mode="after")
    def is_not_everything_by_mistake(self) -> "BulkRequest":
        if self.all == (self.filter != Filter()):
            raise PydanticCustomError("all", "give a filter, or all: true for everything that is parked")
        return self


class BulkDiscardRequest(BulkRequest):
    """`consumer_is_gone` discards also what was redriven to a consumer that no longer exists."""

    consumer_is_gone: bool = False

    @model_validator(mode="after")
    def names_the_consumer_that_is_gone(self) -> "BulkDiscardRequest":
        if self.consumer_is_gone and self.consumer is None:
            raise PydanticCustomError("consumer_is_gone", "name the consumer that is gone")
        return self


REDRIVES: dict[str, dict[str, Any]] = {
    "as it was, when the bug is fixed": {"why": "the bug is fixed"},
}
DISCARDS: dict[str, dict[str, Any]] = {
    "it is to have no effect": {"why": "a test message"},
}
BULK_REDRIVES: dict[str, dict[str, Any]] = {
    "everything that one consumer parked": {"consumer": "orders", "why": "the bug is fixed"},
}
BULK_DISCARDS: dict[str, dict[str, Any]] = {
    "the oldest message that one consumer parked": {
        "consumer": "orders",
        "limit": 1,
        "why": "a test message",
    },
}
"""Bodies that work as they are, for the page of the API; none of them discards more than one message."""


class BulkResponse(BaseModel):
    """`count`: how many were changed. `next_after` continues from here; null when nothing more matches."""

    count: int
    next_after: int | None


class DeadLetterSummaryResponse(BaseModel):
    """A dead letter in a list; `value` is its first bytes."""

    dead_letter_id: int
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


class DeadLetterPageResponse(BaseModel):
    dead_letters: list[DeadLetterSummaryResponse]
    next_after: int | None


class HeaderResponse(BaseModel):
    name: str
    value: str | None


class ActionResponse(BaseModel):
    at: datetime
    who: str
    what: Action
    why: str
    redrive: int
    correction: dict[str, Any] | None


class DeadLetterResponse(DeadLetterSummaryResponse):
    """`truncated` names those of key, value and headers that are longer than what is returned.

    `withheld` names the value if only its frame is returned, because it contains or may contain a secret.
    """

    record_at: datetime
    event: dict[str, Any] | None
    headers: list[HeaderResponse]
    truncated: list[str]
    withheld: list[str]
    actions: list[ActionResponse]
