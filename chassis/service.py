"""A service: its name, its tables, and which of its functions reacts to which event."""

import importlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas import Event

E = TypeVar("E", bound=Event)
Reaction = Callable[[Sequence[E], AsyncConnection], Awaitable[None]]


class UnknownService(LookupError):
    """There is no folder of that name under services/."""


class Service:
    """Name = folder = consumer group = database = login.

    A reaction gets events of one type, new to this service, in an open transaction that it must not commit.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.metadata = MetaData()
        self.reactions: dict[type[Event], Reaction[Any]] = {}

    def on(self, event_type: type[E]) -> Callable[[Reaction[E]], Reaction[E]]:
        def register(reaction: Reaction[E]) -> Reaction[E]:
            if event_type in self.reactions:
                raise ValueError(f"{self.name} already reacts to {event_type.NAME}")
            self.reactions[event_type] = reaction
            return reaction

        return register

    @property
    def topics(self) -> list[str]:
        return sorted({event_type.TOPIC for event_type in self.reactions})


def load(name: str) -> Service:
    """The service in `services/<name>/service.py`, found by its name: nothing is registered anywhere."""
    module_name = f"services.{name}.service"
    try:
        service = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UnknownService(f"there is no services/{name}/service.py") from error
        raise
    if not isinstance(service, Service):
        raise TypeError(f"services/{name}/service.py: {name} is not a Service")
    return service
