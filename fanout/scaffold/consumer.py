"""Renders a new consumer: which events it stores in which tables, and whether its name is free."""

import re
import tokenize
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from keyword import iskeyword
from pathlib import Path

from mako.template import Template
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

import schemas
from fanout.errors import BadUsage, did_you_mean
from fanout.repository import REPOSITORY, services
from schemas import Event
from schemas.files import versions_of
from schemas.model import Enum, Field, Primitive
from schemas.parsing import parse
from schemas.rendering import folder_of

TEMPLATES = Path(__file__).parent / "templates"
LINE_LENGTH = 110
NAME = re.compile(r"[a-z][a-z0-9_]{1,40}")
STACK_NAMES = ("guard", "kafka", "mailbox", "postgres", "registry", "supervisor", "supervisord")
POSTGRES_NAMES = ("none", "public", "template0", "template1")
MASS_NOUNS = {"stock", "fraud"}
TIME = "occurred_at"
SQL_TYPES = {
    "string": "Text",
    "int": "Integer",
    "long": "BigInteger",
    "boolean": "Boolean",
    "double": "Double",
}
PYTHON_TYPES = {"Text": "str", "Integer": "int", "BigInteger": "int", "Boolean": "bool", "Double": "float"}
TEMPLATES_OF_CODE = ("service", "tables", "api", "models", "test")


@dataclass(frozen=True)
class StoredEvent:
    """An event type and its table, one row per event; `columns` maps names to types of SQLAlchemy, without the time."""

    event: str
    key: str
    columns: dict[str, str]

    @property
    def words(self) -> str:
        """OrderConfirmed: order_confirmed."""
        return folder_of(self.event)

    @property
    def table(self) -> str:
        """OrderConfirmed: confirmed_orders."""
        noun, _, verb = self.words.partition("_")
        nouns = noun if noun in MASS_NOUNS else f"{noun}s"
        return f"{verb}_{nouns}" if verb else nouns

    @property
    def path(self) -> str:
        """OrderConfirmed: confirmed-orders, in the API."""
        return self.table.replace("_", "-")

    @property
    def response(self) -> str:
        """OrderConfirmed: ConfirmedOrderResponse."""
        noun, _, verb = self.words.partition("_")
        return "".join(word.capitalize() for word in [*verb.split("_"), noun]) + "Response"


def stored_events(names: Iterable[str]) -> list[StoredEvent]:
    """Returns the events in the order given, each once; raises BadUsage for a name that no event has."""
    known = {event_type.NAME: event_type for event_type in schemas.EVENTS}
    for name in names:
        if name not in known:
            listed = ", ".join(f"{event.NAME} ({event.TOPIC})" for event in known.values())
            raise BadUsage(
                f"no event {name}{did_you_mean(name, list(known))}; there are, with their topics, {listed}"
            )
    return [_stored(known[name]) for name in dict.fromkeys(names)]


def _stored(event_type: type[Event]) -> StoredEvent:
    """Stores the key, and what may tell most of the event: the first plain field and the first amount."""
    version, text = versions_of(event_type)[-1]
    fields = parse(text, version, event_type.NAME).record.fields
    types = {field.name: kind for field in fields if (kind := _sql_type(field))}
    others = [name for name in types if name not in (event_type.KEY, event_type.VERSION_FIELD, TIME)]
    amounts = [name for name in others if name.endswith("_cents")]
    plain = [name for name in others if name not in amounts]
    columns = [event_type.KEY, *plain[:1], *amounts[:1]]
    return StoredEvent(event_type.NAME, event_type.KEY, {name: types[name] for name in columns})


def _sql_type(field: Field) -> str | None:
    """Returns None for a field that needs more than one column or may be missing."""
    match field.type:
        case Primitive(name):
            return SQL_TYPES.get(name)
        case Enum():
            return "Text"
        case _:
            return None


def files(name: str, events: Sequence[StoredEvent]) -> dict[str, str]:
    """Returns the new files by their path in the repository, laid out as `ruff format` lays them out."""
    folder = f"services/{name}"
    return {
        f"{folder}/service.py": _render("service", name, events),
        f"{folder}/tables.py": _render("tables", name, events),
        f"{folder}/migrations/0001_{name}.py": _render("migration", name, events),
        f"{folder}/api.py": _render("api", name, events),
        f"{folder}/models.py": _render("models", name, events),
        f"{folder}/grants.sql": _render("grants", name, events, "sql"),
        f"{folder}/checks.sql": _render("checks", name, events, "sql"),
        f"{folder}/test_{name}.py": _render("test", name, events),
    }


def _render(template: str, name: str, events: Sequence[StoredEvent], suffix: str = "py") -> str:
    rendered: str = Template(filename=str(TEMPLATES / f"{template}.{suffix}.mako")).render(
        name=name,
        title=name.capitalize(),
        rows=events,
        events=[each.event for each in events],
        tables=[each.table for each in events],
        responses=[each.response for each in events],
        python_types=PYTHON_TYPES,
        types={"DateTime", *(kind for each in events for kind in each.columns.values())},
        imports=_imports,
    )
    return rendered


def _imports(module: str, names: Iterable[str]) -> str:
    ordered = sorted(names)
    line = f"from {module} import {', '.join(ordered)}"
    if len(line) <= LINE_LENGTH:
        return line
    return f"from {module} import (\n" + "".join(f"    {name},\n" for name in ordered) + ")"


def words(events: Sequence[StoredEvent]) -> set[str]:
    """Returns every name that the new code uses, and that the consumer therefore cannot have."""
    code = "".join(_render(template, "x", events) for template in TEMPLATES_OF_CODE)
    return {token.string for token in tokenize.generate_tokens(StringIO(code).readline)}


def require_free(name: str, used_in_its_code: Collection[str]) -> None:
    """Raises BadUsage if the name cannot be a folder, a Python name, a group, a database and a login at once."""
    if not NAME.fullmatch(name):
        raise BadUsage(
            f"{name!r} cannot be a consumer's name: 2 to 41 lower-case letters, digits and _, a letter first"
        )
    if name in services():
        raise BadUsage(f"there is a service {name} already; there are {', '.join(services())}")
    if name in STACK_NAMES:
        raise BadUsage(f"{name} is a part of the stack, as are {', '.join(STACK_NAMES)}: choose another name")
    of_sql = name in RESERVED_WORDS or name in POSTGRES_NAMES or name.startswith("pg_")
    if iskeyword(name) or of_sql or name in used_in_its_code:
        raise BadUsage(
            f"{name} already means something in Python, Postgres or the new code: choose another name"
        )
    folder = REPOSITORY / "services" / name
    if any(file.is_file() and file.suffix != ".pyc" for file in folder.rglob("*")):
        raise BadUsage(f"services/{name} exists and has files in it: move it away, or choose another name")
