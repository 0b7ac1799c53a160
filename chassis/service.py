"""Describes a service: its name, its tables, and which of its functions handles which event."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.config import Settings
from chassis.database import Database
from chassis.events.topics import redrive_topic
from chassis.masking import noting_its_events
from chassis.purging import Retention
from schemas import Event

if TYPE_CHECKING:
    from chassis.events.dead_letter import DeadLetter

E = TypeVar("E", bound=Event)
Handler = Callable[[Sequence[E], AsyncConnection], Awaitable[None]]
DeadLetterHandler = Callable[[Sequence["DeadLetter"], AsyncConnection], Awaitable[None]]
BackgroundTask = Callable[[Database, Settings, asyncio.Event], Coroutine[Any, Any, None]]


class UnknownService(LookupError):
    """There is no folder of that name under services/."""


class NotAReadModel(ValueError):
    """A service says that it is a read model, and publishes events or sends something: a replay would do it again."""


class Service:
    """Registers the handlers of one service. Its name is also its folder, consumer group, database and login.

    A handler gets events of one type that this service has not applied yet, and the open transaction of their batch,
    which it must not commit.
    `metadata` holds the service's tables.
    `topic` is where its own events are published; in containers no other login may write there.
    A read model (`read_model=True`) has no effects beyond its own tables: a replay may empty them and fill them again.
    It has no topic and no background task, and a handler of it that publishes fails. Raises NotAReadModel.
    `gather_ms`: how long events may wait in Kafka to share a read and a transaction with later ones. At 20 orders a
    second 500 ms save most of the CPU that the events of such a service cost.
    `retention`: which rows are deleted `closed_days` after they are over. What it does not name is kept for ever.
    """

    def __init__(
        self,
        name: str,
        metadata: MetaData,
        topic: str | None = None,
        read_model: bool = False,
        gather_ms: int = 0,
        retention: Sequence[Retention] = (),
    ) -> None:
        if read_model and topic:
            raise NotAReadModel(f"{name} has the topic {topic} for events of its own: leave out read_model")
        self.name = name
        self.metadata = metadata
        self.topic = topic
        self.read_model = read_model
        self.gather_ms = gather_ms
        self.retention = retention
        self.handlers: dict[type[Event], Handler[Any]] = {}
        self.recoveries: dict[type[Event], Handler[Any]] = {}
        self.dead_letter_handler: DeadLetterHandler | None = None
        self.background_tasks: list[BackgroundTask] = []

    def on(self, event_type: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Registers the handler of an event type. Raises ValueError if there is one already."""

        def register(handler: Handler[E]) -> Handler[E]:
            if event_type in self.handlers:
                raise ValueError(f"{self.name} already handles {event_type.NAME}")
            self.handlers[event_type] = noting_its_events(handler)
            return handler

        return register

    def on_recovery(self, event_type: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        """Registers what stores again what an event of this service says, after its database was restored.

        `fanout recover` calls it for events that Kafka has and the restored outbox has not, in their order.
        """

        def register(handler: Handler[E]) -> Handler[E]:
            self.recoveries[event_type] = handler
            return handler

        return register

    def on_dead_letters(self, handler: DeadLetterHandler) -> DeadLetterHandler:
        """Registers a handler for the dead letters of all consumers; it may get the same one more than once."""
        self.dead_letter_handler = handler
        return handler

    def in_background(self, task: BackgroundTask) -> BackgroundTask:
        """Registers a coroutine that the worker runs beside its consumer until it stops, such as a mail sender.

        Raises NotAReadModel.
        """
        if self.read_model:
            raise NotAReadModel(f"{self.name} runs {task.__name__} in the background: leave out read_model")
        self.background_tasks.append(task)
        return task

    @property
    def topics(self) -> list[str]:
        """Returns the topics that the service's group reads: those of its events, and its redrive topics."""
        topics = {event_type.TOPIC for event_type in self.handlers}
        return sorted(topics | {redrive_topic(topic, self.name) for topic in topics})


def load(name: str) -> Service:
    """Returns the object `service` of `services/<name>/service.py`. Services are registered nowhere else."""
    module_name = f"services.{name}.service"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UnknownService(f"there is no services/{name}/service.py") from error
        raise
    service = getattr(module, "service", None)
    if not isinstance(service, Service):
        raise TypeError(f"services/{name}/service.py has no object `service` of type Service")
    return service
