"""May a new consumer be called that? The name is a folder, a Python name, a group, a database and a login."""

import re
from keyword import iskeyword
from pathlib import Path

from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from fanout.errors import BadUsage
from fanout.repository import REPOSITORY, services

SHAPE = re.compile(r"[a-z][a-z0-9_]{1,40}")
OF_THE_STACK = ("guard", "kafka", "mailbox", "postgres", "registry", "supervisor", "supervisord")
OF_POSTGRES = ("none", "public", "template0", "template1")


def require_free(name: str, used_in_its_code: set[str]) -> None:
    """BadUsage says why not, in a sentence."""
    if not SHAPE.fullmatch(name):
        raise BadUsage(
            f"{name!r} cannot be a consumer's name: 2 to 41 lower-case letters, digits and _, a letter first"
        )
    if name in services():
        raise BadUsage(f"there is a service {name} already; there are {', '.join(services())}")
    if name in OF_THE_STACK:
        raise BadUsage(
            f"{name} is a part of the stack, as are {', '.join(OF_THE_STACK)}: choose another name"
        )
    if _is_a_word(name) or name in used_in_its_code:
        raise BadUsage(
            f"{name} already means something in Python, Postgres or the new code: choose another name"
        )
    if _has_files(REPOSITORY / "services" / name):
        raise BadUsage(f"services/{name} exists and has files in it: move it away, or choose another name")


def _is_a_word(name: str) -> bool:
    of_sql = name in RESERVED_WORDS or name in OF_POSTGRES or name.startswith("pg_")
    return iskeyword(name) or of_sql


def _has_files(folder: Path) -> bool:
    """What Python leaves behind does not count."""
    return any(file.is_file() and file.suffix != ".pyc" for file in folder.rglob("*"))
