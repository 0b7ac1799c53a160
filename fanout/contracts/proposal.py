"""Judges a proposed version of a contract before anything is written: by the rules, and by the live registry."""

from dataclasses import dataclass
from pathlib import Path

from fanout.contracts.registry import accepts, open_registry
from fanout.errors import BadUsage, NotRunning
from fanout.running import running
from schemas import gate
from schemas.compatibility import SchemaError
from schemas.files import ROOT
from schemas.generator import versions
from schemas.model import ContractError
from schemas.parsing import NAMESPACE, load, read_text
from schemas.problem import Problem
from schemas.rendering import folder_of


@dataclass(frozen=True)
class Verdict:
    """`registry_accepts` is None if no registry runs. `problems` are those that need no registry."""

    event: str
    version: int
    problems: list[Problem]
    registry_accepts: bool | None

    @property
    def is_accepted(self) -> bool:
        return not self.problems and self.registry_accepts is not False


def judge(file: Path) -> Verdict:
    """Returns the verdict on the file as the next version of the event that it names. Raises BadUsage."""
    try:
        text = read_text(file)
        schema = load(text, str(file))
    except ContractError as error:
        raise BadUsage(str(error)) from error
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise BadUsage(f"{file} names no event: it must be a record with a name, such as OrderPlaced")
    event, topic = schema["name"], schema.get("topic")
    earlier = _earlier(ROOT / folder_of(event), file)
    version = len(earlier) + 1
    problems = gate.rule_problems(text, version, str(file))
    try:
        for number, path in earlier:
            problems += gate.breaking(
                (number, load(read_text(path), path.name)), (version, schema), str(file)
            )
    except (SchemaError, ContractError) as error:
        problems.append(Problem(str(file), "", str(error), gate.FORMAT))
    return Verdict(
        event, version, list(dict.fromkeys(problems)), _ask_registry(f"{topic}-{NAMESPACE}.{event}", text)
    )


def _earlier(folder: Path, file: Path) -> list[tuple[int, Path]]:
    """Returns the versions before the file, which may be one of them; none for a new event."""
    if not folder.is_dir():
        return []
    found = versions(folder)
    itself = [number for number, path in found if path.resolve() == file.resolve()]
    return found[: itself[0] - 1] if itself else found


def _ask_registry(subject: str, text: str) -> bool | None:
    try:
        url = running().registry_url
    except NotRunning:
        return None
    with open_registry(url) as registry:
        return accepts(registry, subject, text)
