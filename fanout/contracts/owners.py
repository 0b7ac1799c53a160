"""Finds out from the sources of services/ who owns a topic and who publishes an event, without importing them."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from schemas import EVENTS
from schemas.problem import Problem
from schemas.rendering import folder_of


def problems(services: Path) -> Iterator[Problem]:
    """Yields a problem for each event whose topic has not one owner, or that is not published by its owner alone."""
    owners, makers = _owners(services), _makers(services)
    for event in EVENTS:
        file = f"{folder_of(event.NAME)}/v{event.SCHEMA_VERSION}.avsc"
        owning = owners.get(event.TOPIC, set())
        if len(owning) != 1:
            who = f"{' and '.join(sorted(owning))} own" if owning else "no service owns"
            remedy = f'give one service `topic="{event.TOPIC}"`, which makes the topic exist'
            yield Problem(file, event.NAME, f"{who} the topic {event.TOPIC}", remedy)
            continue
        owner, making = next(iter(owning)), makers.get(event.NAME, set())
        if not making:
            remedy = (
                f"publish it in services/{owner}, retire it (retired.md), or delete it before it is published"
            )
            yield Problem(file, event.NAME, "no service publishes it", remedy)
        for stranger in sorted(making - owning):
            what = f"{stranger} publishes it, and {owner} owns the topic {event.TOPIC}"
            yield Problem(file, event.NAME, what, f"publish an event on {stranger}'s own topic instead")


def _owners(services: Path) -> Mapping[str, set[str]]:
    """Returns by topic the services whose `Service(...)` names it as their own."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for file in services.glob("*/service.py"):
        for call in _calls(file):
            for word in call.keywords if _name(call) == "Service" else ():
                if word.arg == "topic" and isinstance(word.value, ast.Constant):
                    owners[str(word.value.value)].add(file.parent.name)
    return owners


def _makers(services: Path) -> Mapping[str, set[str]]:
    """Returns by event the services whose code makes one; their tests do not count."""
    names = {event.NAME for event in EVENTS}
    makers: defaultdict[str, set[str]] = defaultdict(set)
    for file in services.glob("*/*.py"):
        if not file.name.startswith("test_"):
            for call in _calls(file):
                if _name(call) in names:
                    makers[_name(call)].add(file.parent.name)
    return makers


def _calls(file: Path) -> Iterator[ast.Call]:
    tree = ast.walk(ast.parse(file.read_text(), str(file)))
    return (node for node in tree if isinstance(node, ast.Call))


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""
