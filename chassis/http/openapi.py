"""Completes a service's OpenAPI document: each refusal with its status, its problem details and an example.

What every operation may answer is added here; what is a route's own, it says itself: `responses=refusals({404: …})`.
"""

from collections.abc import Mapping
from typing import Any

from chassis.http.problems import MAX_BODY_BYTES, RETRY_AFTER_SECONDS, title_of

Document = dict[str, Any]

METHODS = ("get", "put", "post", "delete", "patch")
DESCRIPTION = """\
**Authorize** takes a token: `fanout token ada` prints a customer's, `fanout token --operator` an operator's
(with containers: `docker compose run --rm fanout token ada`). **Try it out** fills in a body that works as it is.

Every refusal is problem details (RFC 9457). `reason` is for programs and does not change; `detail` is for people.
A method that a path does not have is answered 405, with `Allow`; an unknown path 404.
A POST with an `Idempotency-Key` may be repeated safely, after a time-out or a 503 too.
"""

PROBLEM: Document = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "reason", "detail"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string", "description": "The status in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "reason": {"type": "string", "description": "What is wrong, for programs."},
        "detail": {"type": "string", "description": "What happened, to what, and what to do."},
        "errors": {
            "type": "array",
            "description": "With 422: every field that is wrong.",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

OF_EVERY_OPERATION: Mapping[int, tuple[str, str]] = {
    400: ("invalid HTTP", "The request is not valid HTTP/1.1. The connection is closed."),
    408: ("too slow", "The request was not complete within 10 seconds."),
    431: ("headers too large", "Request line and headers are over 32768 bytes."),
    503: ("overloaded", "Too many requests to answer all within a second. Repeat it after Retry-After."),
}
OF_A_BODY: Mapping[int, tuple[str, str]] = {
    413: ("content too large", f"The request body is over {MAX_BODY_BYTES} bytes; send less."),
    415: ("unsupported type", "The body must be JSON in UTF-8, with Content-Type: application/json."),
}
OF_INPUT: Mapping[int, tuple[str, str]] = {422: ("invalid request", "limit: must be at most 200")}
OF_SECURITY: Mapping[int, tuple[str, str]] = {
    401: ("unauthorized", "This needs a token, sent as `Authorization: Bearer TOKEN`."),
    403: ("forbidden", "Only operators may do this, and the token is a customer's."),
}
SHARED = {**OF_EVERY_OPERATION, **OF_A_BODY, **OF_INPUT, **OF_SECURITY}

HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "How to authenticate."},
    415: {
        "Accept": "The type to send, if the type is wrong.",
        "Accept-Encoding": "The encoding to send, if the encoding is wrong.",
    },
    503: {"Retry-After": f"Seconds after which to repeat the request: {RETRY_AFTER_SECONDS}."},
}
REPLAYED = {
    "description": "`true` if this is the answer to an earlier request with the same Idempotency-Key.",
    "schema": {"type": "string", "const": "true"},
}


def refusals(own: Mapping[int, tuple[str, str]]) -> dict[int | str, Document]:
    """Returns `responses` for a route with refusals of its own: an example's reason and detail, by status."""
    return {status: response(status, reason, detail) for status, (reason, detail) in own.items()}


def response(status: int, reason: str, detail: str) -> Document:
    """Returns the response object of a refusal."""
    title = title_of(status)
    example = {"type": "about:blank", "title": title, "status": status, "reason": reason, "detail": detail}
    if status == 422:
        field, _, message = detail.partition(": ")
        example["errors"] = [{"field": field, "message": message}]
    described: Document = {
        "description": f"{title}: {reason}",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "example": example,
            }
        },
    }
    if headers := HEADERS.get(status):
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return described


def complete(document: Document) -> Document:
    """Adds the refusals to the document that FastAPI made, instead of its own HTTPValidationError."""
    about = document["info"].get("description", "")
    document["info"]["description"] = f"{about}\n\n{DESCRIPTION}" if about else DESCRIPTION
    used: set[int] = set()
    for path in document["paths"].values():
        for method in METHODS & path.keys():
            used |= _complete_operation(path[method])
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for replaced in ("HTTPValidationError", "ValidationError"):
        schemas.pop(replaced, None)
    schemas["Problem"] = PROBLEM
    components["responses"] = {_name(status): response(status, *SHARED[status]) for status in sorted(used)}
    return document


def _complete_operation(operation: Document) -> set[int]:
    """Adds references to the shared refusals, except where a route describes its own; returns their statuses."""
    responses, parameters = operation["responses"], operation.get("parameters", [])
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    statuses = set(OF_EVERY_OPERATION)
    if "requestBody" in operation:
        statuses |= OF_A_BODY.keys()
    if "requestBody" in operation or parameters:
        statuses |= OF_INPUT.keys()
    if "security" in operation:
        statuses |= OF_SECURITY.keys()
    own = {int(status) for status in responses}
    for status in sorted(statuses - own):
        responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    if any(each["name"].lower() == "idempotency-key" for each in parameters):
        for status in own:
            if status < 300:
                responses[str(status)].setdefault("headers", {})["Idempotent-Replayed"] = REPLAYED
    return statuses - own


def _name(status: int) -> str:
    return title_of(status).title().replace(" ", "")
