"""Our own checks for schemathesis: what a schema allows is accepted, and every route is reached."""

from typing import Any

import schemathesis
from schemathesis.checks import CheckContext
from schemathesis.core.transport import Response

RULES = {
    "texts that Postgres stores": ("contains NUL", "has a name that contains NUL"),
    "payment_method and card_token": ("a card payment needs the token of a card", "an invoice has no card"),
    "the price list": ("there is no product", "is sold in"),
    "a product once in an order": ("a product may be named once",),
    "a payment of the invoice": ("the invoice is over", "the invoice is in"),
    "a span of time": (
        "must be later than since",
        "year must be between 1971 and 9998",
        "must be at most one day after",
    ),
    "a filter or all": ("give a filter, or all: true",),
    "a removed consumer": ("name the consumer that is gone",),
    "a correction of an event": ("a type is for a correction", "name what the dead letter should have been"),
}
"""What JSON Schema cannot say: relations between fields, and what is in the database. By what a refusal says."""
REASONS = ("key used before", "invalid correction")
"""schemathesis repeats a key with another body; a correction is judged by the Avro contract of its event."""


@schemathesis.check
def accepts_what_the_schema_allows(
    ctx: CheckContext, response: Response, case: schemathesis.Case[Any]
) -> None:
    """Narrows `positive_data_acceptance`, which is told that a 422 is fine: it is only for one of RULES."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    problem = response.json()
    known = [start for starts in RULES.values() for start in starts]
    if problem["reason"] not in REASONS and not all(
        any(start in error["message"] for start in known) for error in problem["errors"]
    ):
        raise AssertionError(f"the schema allows what the API refuses: {problem['detail']}")


@schemathesis.check
class EveryRouteSucceeds:
    """Fails if a route was asked and never answered 2xx: then the checks have seen its refusals only."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.succeeded: set[str] = set()

    def after_response(self, ctx: CheckContext, response: Response, case: schemathesis.Case[Any]) -> None:
        if case.operation.method.lower() == case.method.lower():
            self.asked.add(case.operation.label)
            if 200 <= response.status_code < 300:
                self.succeeded.add(case.operation.label)

    def after_run(self, ctx: CheckContext) -> None:
        assert self.asked == self.succeeded, f"never succeeded: {sorted(self.asked - self.succeeded)}"
