"""`fanout token`: prints a token, by which an API knows a customer or an operator."""

from typing import Annotated

import typer

from chassis.http.tokens import Role
from fanout.durations import seconds
from fanout.errors import BadUsage
from fanout.running import running
from fanout.tokens import VALID_SECONDS, login_name, signer

Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Whose; an operator's is yours by default.")
]
Operator = Annotated[
    bool, typer.Option("--operator", help="For an operator: all orders, dead letters, sales.")
]
Span = Annotated[
    float | None,
    typer.Option("--for", parser=seconds, metavar="SPAN", help="How long it is valid; default: 12h."),
]

LONGEST_SECONDS = 720 * 3600


def command(name: Name = None, operator: Operator = False, span: Span = None) -> None:
    """Print a token for a customer, or for an operator.

    A customer sees, pays and cancels the orders that were placed with a token of the same name.

    Example: curl -H "Authorization: Bearer $(fanout token ada)" localhost:8001/orders
    Example: fanout token --operator --for 30m
    """
    if not (name or operator):
        raise BadUsage("whose token? give a customer's name, or --operator")
    if span is not None and not 1 <= span <= LONGEST_SECONDS:
        raise BadUsage("--for: a token is valid for 1 s to 720 h, since it cannot be revoked")
    role: Role = "operator" if operator else "customer"
    print(signer(running()).sign(role, name or login_name(), VALID_SECONDS if span is None else span))
