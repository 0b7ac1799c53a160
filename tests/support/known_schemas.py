"""A registry that has already learned everything it will be asked."""

from typing import Any

from chassis.events.writer_schema import writer_schema
from schemas import EVENTS
from schemas.files import versions_of


class Known:
    """A registry that has learned everything it will ever be asked, by schema text."""

    def __init__(self, **texts: str) -> None:
        self.schemas = {int(name.removeprefix("id_")): writer_schema(text) for name, text in texts.items()}

    async def schema_by_id(self, schema_id: int) -> dict[str, Any]:
        return self.schemas[schema_id]

    async def is_registered(self, schema_id: int, subject: str) -> bool:
        """A schema is in the one subject that ends in its name."""
        return subject.endswith(f"-{self.schemas[schema_id]['name']}")


OURS = Known(**{f"id_{number}": versions_of(event_type)[-1][1] for number, event_type in enumerate(EVENTS)})
