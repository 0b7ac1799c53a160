"""The registry as one batch sees it: an id that is unknown, or of another subject, is asked for once a batch.

All records of a batch were written before the first of them is decoded, and a schema is registered before it is written
with; so an answer that refuses one record is right for the others, but not for records that come later.
"""

from typing import Any

from chassis.errors import PermanentFailure
from chassis.events.avro import WriterSchemas


class AskedOnce:
    """Keeps every answer of `is_registered`, and its refusals, for as long as it lives."""

    def __init__(self, registry: WriterSchemas) -> None:
        self._registry = registry
        self._answers: dict[tuple[int, str], bool | PermanentFailure] = {}

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        """Raises UnknownSchemaId or RegistryUnavailable."""
        key = schema_id, subject
        if key not in self._answers:
            self._answers[key] = await self._ask(schema_id, subject)
        answer = self._answers[key]
        if isinstance(answer, PermanentFailure):
            raise type(answer)(*answer.args)
        return answer

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        """Raises UnknownSchemaId, UnsafeSchema or RegistryUnavailable."""
        return await self._registry.schema_by_id(schema_id)

    async def _ask(self, schema_id: int, subject: str) -> bool | PermanentFailure:
        try:
            return await self._registry.is_registered(schema_id, subject)
        except PermanentFailure as failure:
            return failure
