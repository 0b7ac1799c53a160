"""Reads schemas and their ids from the schema registry, each once. Services never register schemas.

A version of an event has the number of its file: set-up registers the files in order, one after the other, in a subject
that takes nothing else. So a version whose text this release does not have is found by its number.
"""

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events.shared_requests import SharedRequests
from chassis.events.writer_schema import writer_schema
from schemas import Event
from schemas.files import subject_of, versions_of

TIMEOUT_SECONDS = 3.0
NOT_FOUND_CODES = (40401, 40402, 40403)

T = TypeVar("T")


class UnknownSchemaId(PermanentFailure):
    """The registry has no schema with this id."""


class RegistryUnavailable(InfrastructureFailure):
    """The registry does not answer, or does not answer like a schema registry."""


class SchemaNotRegistered(InfrastructureFailure):
    """The schema of an event that is to be sent is not in the registry yet; `fanout setup` registers it."""


class _NotFound(Exception):
    """The registry reports that it has no such schema; a 404 from a proxy or a wrong address is not this."""


class Registry:
    """A client of the Confluent-compatible API, v7. Keeps positive answers for ever, because ids never change."""

    def __init__(self, url: str) -> None:
        # trust_env=False: the proxy variables are meant for the internet, not for the registry.
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._schemas: dict[int, dict[str, Any]] = {}
        self._registered: set[tuple[int, str]] = set()
        self._ids: dict[tuple[str, int], int] = {}
        self._subjects = SharedRequests(self._fetch_subjects)

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        """Returns True if this is the id of a version of the subject. Raises UnknownSchemaId or RegistryUnavailable.

        Deleted versions count, because a topic may still hold events that were written with them. Schemas with equal
        texts have one id in all their subjects.
        """
        if (schema_id, subject) not in self._registered:
            self._registered |= {(schema_id, found) for found in await self._subjects.answer(schema_id)}
        return (schema_id, subject) in self._registered

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Returns a schema parsed for fastavro. Raises UnknownSchemaId, UnsafeSchema or RegistryUnavailable."""
        known = self._schemas.get(schema_id)
        if known is None:
            known = self._schemas[schema_id] = await self._fetch(schema_id)
        return known

    async def schema_id(self, event_type: type[Event], version: int | None) -> int:
        """Returns the id of a version, by its text or, for one of a newer release, by its number.

        Raises SchemaNotRegistered or RegistryUnavailable.
        """
        subject = subject_of(event_type)
        number = _number(subject, version)
        if (subject, number) not in self._ids:
            texts = dict(versions_of(event_type))
            if number in texts:
                self._ids[subject, number] = await self._look_up(subject, number, texts[number], "id")
            else:
                await self._require_same_numbers(subject, texts)
        return await self.schema_id_by_number(subject, number)

    async def schema_id_by_number(self, subject: str, version: int | None) -> int:
        """Returns the id that the registry has under this number. Raises SchemaNotRegistered or RegistryUnavailable."""
        number = _number(subject, version)
        known = self._ids.get((subject, number))
        if known is None:
            known = self._ids[subject, number] = await self._find_by_number(subject, number)
        return known

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _fetch_subjects(self, schema_id: int) -> list[str]:
        try:
            return await self._ask("GET", f"/schemas/ids/{schema_id}/subjects?deleted=true", _names)
        except _NotFound as error:
            raise UnknownSchemaId(f"no schema has the id {schema_id}") from error

    async def _fetch(self, schema_id: int) -> dict[str, Any]:
        try:
            return writer_schema(await self._ask("GET", f"/schemas/ids/{schema_id}", itemgetter("schema")))
        except _NotFound as error:
            raise UnknownSchemaId(f"no schema has the id {schema_id}") from error

    async def _look_up(self, subject: str, version: int, text: str, wanted: str) -> int:
        """Returns the id or the number (`version`) under which the subject has this text."""
        try:
            return int(await self._ask("POST", f"/subjects/{subject}", itemgetter(wanted), {"schema": text}))
        except _NotFound as error:
            raise _not_registered(subject, version) from error

    async def _find_by_number(self, subject: str, version: int) -> int:
        try:
            path = f"/subjects/{quote(subject, safe='')}/versions/{version}"
            schema_id, text = await self._ask("GET", path, itemgetter("id", "schema"))
        except _NotFound as error:
            raise _not_registered(subject, version) from error
        name = _name_of(text)
        if not subject.endswith(f"-{name}"):
            raise SchemaNotRegistered(f"{subject} v{version} is a schema of {name!r} in the registry")
        return int(schema_id)

    async def _require_same_numbers(self, subject: str, texts: dict[int, str]) -> None:
        """Raises SchemaNotRegistered if a version that this release has is registered under another number."""
        for version, text in texts.items():
            number = await self._look_up(subject, version, text, "version")
            if number != version:
                raise SchemaNotRegistered(
                    f"{subject} v{version} has the number {number} in the registry, so a newer version cannot be "
                    "found by its number: start the worker of the newer release"
                )

    async def _ask(
        self, method: str, path: str, read: Callable[[Any], T], body: dict[str, str] | None = None
    ) -> T:
        try:
            response = await self._http.request(method, path, json=body)
            answer = response.json()
            if response.status_code == 200:
                return read(answer)
            missing = response.status_code == 404 and answer["error_code"] in NOT_FOUND_CODES
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise RegistryUnavailable(f"{method} {path}: {error!r}") from error
        if missing:
            raise _NotFound
        raise RegistryUnavailable(f"{method} {path}: status {response.status_code}")


def _number(subject: str, version: int | None) -> int:
    """Returns the version of an outbox row if there can be such a version; the registry's -1 means the latest one."""
    if version is None or version < 1:
        raise SchemaNotRegistered(f"{subject} can have no version {version}")
    return version


def _not_registered(subject: str, version: int) -> SchemaNotRegistered:
    return SchemaNotRegistered(f"{subject} v{version} is not registered: run `fanout setup`")


def _names(answer: Any) -> list[str]:
    """Returns the answer if it is a list of names. Raises TypeError."""
    if not isinstance(answer, list) or not all(isinstance(name, str) for name in answer):
        raise TypeError("not a list of names")
    return answer


def _name_of(text: str) -> str:
    """Returns the full name of a schema's record, or "" if it has none."""
    try:
        schema = json.loads(text)
        return f"{schema['namespace']}.{schema['name']}"
    except (ValueError, LookupError, TypeError):
        return ""
