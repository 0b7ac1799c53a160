"""A service: its name, its tables, and which of its functions reacts to which event."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.database import Database
from chassis.events.topics import retry_topic
from schemas import Event

if TYPE_CHECKING:
    from chassis.dead_letters.reader import DeadLetter

E = TypeVar("E", bound=Event)
Reaction = Callable[[Sequence[E], AsyncConnection], Awaitable[None]]
Filing = Callable[[Sequence["DeadLetter"], AsyncConnection], Awaitable[None]]
BackgroundTask = Callable[[Database, Settings, asyncio.Event], Coroutine[Any, Any, None]]


class UnknownService(LookupError):
    """There is no folder of that name under services/."""


class Service:
    """Name = folder = consumer group = database = login.

    A reaction gets events of one type, new to this service, in an open transaction that it must not commit.
    `topic` is where its own facts go; where rights are given out, nobody else may write there.
    A read model has no effects beyond its own tables: a replay may empty them and fill them again.
    Where nobody waits for the effects, events may wait up to `gather_ms` in Kafka, so that more of them share a
    transaction and a read: at 20 orders a second that saves most of what they cost.
    """

    def __init__(
        self, name: str, topic: str | None = None, read_model: bool = False, gather_ms: int = 0
    ) -> None:
        self.name = name
        self.topic = topic
        self.read_model = read_model
        self.gather_ms = gather_ms
        self.metadata = MetaData()
        self.reactions: dict[type[Event], Reaction[Any]] = {}
        self.filing: Filing | None = None
        self.background_tasks: list[BackgroundTask] = []

    def on(self, event_type: type[E]) -> Callable[[Reaction[E]], Reaction[E]]:
        def register(reaction: Reaction[E]) -> Reaction[E]:
            if event_type in self.reactions:
                raise ValueError(f"{self.name} already reacts to {event_type.NAME}")
            self.reactions[event_type] = reaction
            return reaction

        return register

    def on_dead_letters(self, filing: Filing) -> Filing:
        """Hands over the dead letters of all consumers, instead of events; the same one may come again."""
        self.filing = filing
        return filing

    def alongside(self, background_task: BackgroundTask) -> BackgroundTask:
        """Runs in the worker beside its consumer, until the event is set: what must leave the database."""
        self.background_tasks.append(background_task)
        return background_task

    @property
    def topics(self) -> list[str]:
        """What its group reads: events, and those that come back to it alone."""
        heard = {event_type.TOPIC for event_type in self.reactions}
        return sorted(heard | {retry_topic(topic, self.name) for topic in heard})


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
