"""Reads schemas and their ids from the schema registry, each once. Services never register schemas."""

from typing import Any

import httpx

from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events.writer_schema import writer_schema
from schemas import Event
from schemas.files import subject_of, versions_of

TIMEOUT_SECONDS = 3.0
NOT_FOUND_CODES = (40401, 40402, 40403)


class UnknownSchemaId(PermanentFailure):
    """The registry has no schema with this id."""


class RegistryUnavailable(InfrastructureFailure):
    """The registry does not answer, or does not answer like a schema registry."""


class SchemaNotRegistered(InfrastructureFailure):
    """Our own schema is not in the registry yet; `fanout setup` registers it."""


class _NotFound(Exception):
    """The registry reports that it has no such schema; a 404 from a proxy or a wrong address is not this."""


class Registry:
    """A client of the Confluent-compatible API, v7. Caches answers for ever, because ids never change."""

    def __init__(self, url: str) -> None:
        # trust_env=False: the proxy variables are meant for the internet, not for the registry.
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._schemas: dict[int, dict[str, Any]] = {}
        self._ids: dict[tuple[type[Event], int], int] = {}

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Returns a schema parsed for fastavro. Raises UnknownSchemaId, UnsafeSchema or RegistryUnavailable."""
        known = self._schemas.get(schema_id)
        if known is None:
            known = self._schemas[schema_id] = await self._fetch(schema_id)
        return known

    async def schema_id(self, event_type: type[Event], version: int) -> int:
        """Returns the id of this version of an event type. Raises SchemaNotRegistered or RegistryUnavailable."""
        known = self._ids.get((event_type, version))
        if known is None:
            known = self._ids[event_type, version] = await self._look_up(event_type, version)
        return known

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _fetch(self, schema_id: int) -> dict[str, Any]:
        try:
            return writer_schema(await self._ask("schema", "GET", f"/schemas/ids/{schema_id}"))
        except _NotFound as error:
            raise UnknownSchemaId(f"no schema has the id {schema_id}") from error

    async def _look_up(self, event_type: type[Event], version: int) -> int:
        subject = subject_of(event_type)
        text = dict(versions_of(event_type)).get(version)
        if text is None:
            raise SchemaNotRegistered(
                f"{event_type.NAME} v{version} was written by a newer release than this one"
            )
        try:
            return int(await self._ask("id", "POST", f"/subjects/{subject}", {"schema": text}))
        except _NotFound as error:
            raise SchemaNotRegistered(
                f"{subject} v{version} is not registered: run `fanout setup`"
            ) from error

    async def _ask(self, wanted: str, method: str, path: str, body: dict[str, str] | None = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
            answer = response.json()
            if response.status_code == 200:
                return answer[wanted]
            missing = response.status_code == 404 and answer["error_code"] in NOT_FOUND_CODES
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise RegistryUnavailable(f"{method} {path}: {error!r}") from error
        if missing:
            raise _NotFound
        raise RegistryUnavailable(f"{method} {path}: status {response.status_code}")
