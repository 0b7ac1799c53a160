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
    modules: list[Module] = []
    for file in sorted(services.glob("*/**/*.py")):
        try:
            modules.append(Module(file, file.relative_to(services).parts[0]))
        except (SyntaxError, UnicodeDecodeError, OSError) as error:
            yield Problem(
                f"../{file.relative_to(services.parent)}", "", f"cannot be read: {error}", "repair it"
            )
    owners, makers = _owners(modules), _makers(modules)
    for event in EVENTS:
        file_name = f"{folder_of(event.NAME)}/v{event.SCHEMA_VERSION}.avsc"
        owning = owners.get(event.TOPIC, set())
        if len(owning) != 1:
            who = f"{' and '.join(sorted(owning))} own" if owning else "no service owns"
            remedy = f'give one service `topic="{event.TOPIC}"`, which makes the topic exist'
            yield Problem(file_name, event.NAME, f"{who} the topic {event.TOPIC}", remedy)
            continue
        owner, making = next(iter(owning)), makers.get(event.NAME, set())
        if not making:
            remedy = f"publish it in services/{owner}, or retire it with a retired.md"
            yield Problem(file_name, event.NAME, "no service publishes it", remedy)
        for stranger in sorted(making - owning):
            what = f"{stranger} publishes it, and {owner} owns the topic {event.TOPIC}"
            yield Problem(file_name, event.NAME, what, f"publish an event on {stranger}'s own topic instead")


class Module:
    """One source file of a service: what it calls, by the names as they were defined elsewhere."""

    def __init__(self, file: Path, service: str) -> None:
        tree = ast.parse(file.read_text("utf-8"), str(file))
        nodes = list(ast.walk(tree))
        self.service = service
        self.is_test = file.name.startswith("test_")
        self.calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._aliases = {
            alias.asname: alias.name
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if alias.asname
        }
        self._texts = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def name_of(self, call: ast.Call) -> str:
        """Returns OrderPlaced for OrderPlaced(…), schemas.OrderPlaced(…), and the name it was imported under."""
        match call.func:
            case ast.Name(name) | ast.Attribute(attr=name):
                return str(self._aliases.get(name, name))
        return ""

    def text_of(self, value: ast.expr) -> str | None:
        """Returns a text that is written out, or a constant of this module."""
        match value:
            case ast.Constant(str() as text):
                return text
            case ast.Name(name):
                return str(self._texts[name]) if name in self._texts else None
        return None


def _owners(modules: list[Module]) -> Mapping[str, set[str]]:
    """Returns by topic the services whose `Service(...)` names it as their own."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        for call in module.calls:
            for word in call.keywords if module.name_of(call) == "Service" else ():
                if word.arg == "topic" and (topic := module.text_of(word.value)):
                    owners[topic].add(module.service)
    return owners


def _makers(modules: list[Module]) -> Mapping[str, set[str]]:
    """Returns by event the services whose code makes one; their tests do not count."""
    names = {event.NAME for event in EVENTS}
    makers: defaultdict[str, set[str]] = defaultdict(set)
    for module in modules:
        for call in module.calls if not module.is_test else ():
            if (name := module.name_of(call)) in names:
                makers[name].add(module.service)
    return makers
