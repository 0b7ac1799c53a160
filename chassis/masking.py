"""Keeps secrets out of logs and of stored error messages: those of the events or the request that a task works on.

An error may quote a value without its name (`KeyError: 'tok_…'`), so the rule by names alone would let it through.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from functools import cache, wraps
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import Event
from schemas.secrets import MASK, is_secret, masked_text, secrets_in

E = TypeVar("E", bound=Event)
Documents = Callable[[], Iterable[Mapping[str, Any]]]

ERROR_FIELDS = frozenset(("error", "reason", "exception"))
"""Fields of log lines that may quote a value without its name."""

LONGEST_MESSAGE = 10_000
"""Characters; a message may contain a statement with all its rows."""

_secrets: ContextVar[Callable[[], Iterable[str]]] = ContextVar("secrets", default=tuple)


def work_on(documents: Documents) -> None:
    """Sets what this task works on from now on; its secrets are looked for when the first error is described."""
    _secrets.set(cache(lambda: {secret for each in documents() for secret in secrets_in(each)}))


def without_secrets(text: str) -> str:
    """Returns the text without the secrets of what this task works on."""
    return masked_text(text, _secrets.get()())


def describe(error: BaseException) -> str:
    """Returns the error's type and message without secrets, cut to 300 characters, for logs and tables."""
    return f"{type(error).__name__}: {message_of(error)}"[:300]


def message_of(error: BaseException) -> str:
    """Returns the error's message without secrets, and without what comes after LONGEST_MESSAGE characters."""
    return without_secrets(str(error)[:LONGEST_MESSAGE])


def noting_its_events(
    handler: Callable[[Sequence[E], AsyncConnection], Awaitable[None]],
) -> Callable[[Sequence[E], AsyncConnection], Awaitable[None]]:
    """Returns the handler, after whose failure no text about the error contains a secret of its events."""

    @wraps(handler)
    async def handle(events: Sequence[E], db: AsyncConnection) -> None:
        work_on(lambda: map(asdict, events))
        await handler(events, db)

    return handle


def mask_log_line(_: object, __: str, line: Any) -> Any:
    """Masks a log line; a processor of structlog, to be placed after exceptions were formatted."""
    for name, value in line.items():
        if is_secret(name):
            line[name] = MASK
        elif isinstance(value, BaseException):
            line[name] = describe(value)
        elif isinstance(value, str):
            line[name] = without_secrets(value) if name in ERROR_FIELDS else masked_text(value)
    return line
