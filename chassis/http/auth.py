"""Finds out who sends a request, and refuses who may not: 401 without a valid token, 403 with one of the wrong role.

A route says who may call it by the type of its first parameter: `Authenticated`, `Customer` or `Operator`. Whether an
object is the caller's own only the route can tell: `Principal.may_act_for`. What is another's is answered as unknown.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from chassis.http.problems import Problem, problem
from chassis.http.tokens import InvalidToken, Principal, TokenVerifier

__all__ = ["Authenticated", "Customer", "Operator", "Principal"]

bearer = HTTPBearer(
    scheme_name="token",
    bearerFormat="JWT",
    description="`fanout token ada` prints a customer's, `fanout token --operator` an operator's.",
    auto_error=False,
)


class Unauthenticated(Problem):
    """Answers 401 with the challenge of RFC 6750; `error` is its code if a token came and is not valid."""

    def __init__(self, detail: str, error: str = "") -> None:
        super().__init__(401, "unauthorized", detail)
        self.challenge = 'Bearer realm="fanout"' + (f', error="{error}"' if error else "")


async def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Principal:
    """Returns who sends the request. Raises Unauthenticated."""
    if credentials is None:
        raise Unauthenticated(
            "This needs a token, sent as `Authorization: Bearer TOKEN`: `fanout token NAME` prints one."
        )
    verifier: TokenVerifier = request.app.state.verifier
    try:
        return verifier.verify(credentials.credentials)
    except InvalidToken as invalid:
        raise Unauthenticated(str(invalid), "invalid_token") from invalid


Authenticated = Annotated[Principal, Depends(authenticated)]
"""A customer or an operator."""


async def _customer(principal: Authenticated) -> Principal:
    if principal.is_operator:
        raise Problem(403, "forbidden", "Only customers may do this, and the token is an operator's.")
    return principal


async def _operator(principal: Authenticated) -> Principal:
    if not principal.is_operator:
        raise Problem(403, "forbidden", "Only operators may do this, and the token is a customer's.")
    return principal


Customer = Annotated[Principal, Depends(_customer)]
Operator = Annotated[Principal, Depends(_operator)]


def answer_unauthenticated(app: FastAPI) -> None:
    """Makes the app send the challenge with each 401."""
    app.add_exception_handler(Unauthenticated, _unauthenticated)


async def _unauthenticated(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Unauthenticated)
    return problem(error.status, error.reason, error.detail, {"WWW-Authenticate": error.challenge})
