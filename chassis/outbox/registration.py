"""Notices when a worker starts that a version of its own events is not registered, before any row waits for it."""

import asyncio
from collections.abc import Sequence

import structlog

from chassis.errors import InfrastructureFailure
from chassis.events.record import EVENT_TYPES
from chassis.events.registry import Registry, SchemaNotRegistered
from chassis.timestamps import is_set_within
from schemas import Event
from schemas.files import versions_of

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class RegistrationCheck:
    """Looks every version of the events of one topic up, until all of them are registered.

    Meanwhile the worker is not ready, but consumes and sends what it can. An outage of the registry is not reported
    here: consumer and relay wait for it when they need it.
    """

    def __init__(self, topic: str | None, registry: Registry) -> None:
        self._versions = [
            (event_type, version)
            for event_type in EVENT_TYPES.values()
            if topic == event_type.TOPIC
            for version, _ in versions_of(event_type)
        ]
        self._registry = registry
        self.missing: Sequence[str] = ()
        """What is not registered, each with the remedy, as of the last check."""

    async def run(self, stop: asyncio.Event) -> None:
        """Returns when every version is registered, or when `stop` is set."""
        while not stop.is_set():
            try:
                missing = [error for each in self._versions if (error := await self._error(*each))]
            except InfrastructureFailure as error:
                log.info("registration_not_checked", error=str(error))
            else:
                self._report(missing)
                if not missing:
                    return
            await is_set_within(RETRY_SECONDS, stop)

    async def _error(self, event_type: type[Event], version: int) -> str:
        try:
            await self._registry.schema_id(event_type, version)
        except SchemaNotRegistered as error:
            return str(error)
        return ""

    def _report(self, missing: Sequence[str]) -> None:
        if missing and missing != self.missing:
            log.error("schemas_not_registered", missing=missing)
        if self.missing and not missing:
            log.info("schemas_registered")
        self.missing = missing
