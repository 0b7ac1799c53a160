"""Judges a proposed version of a contract before anything is written: by the rules, and by the live registry."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from fanout.contracts.registry import accepts, open_registry
from fanout.errors import BadUsage, NotRunning
from fanout.running import running
from schemas import gate, published
from schemas.files import ROOT
from schemas.generator import versions
from schemas.model import ContractError
from schemas.parsing import NAMESPACE, TYPE_NAME, load
from schemas.problem import Problem
from schemas.published import Sums
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


def judge(file: Path, published_sums: Sums) -> Verdict:
    """Returns the verdict on the file as the next version of the event that it names. Raises BadUsage."""
    text, event, topic = _read(file)
    version = _version(ROOT / folder_of(event), file)
    name = f"{folder_of(event)}/v{version}.avsc"
    with _copy_of_contracts(name, text) as root:
        found = gate.contract_problems(root)
        if name in published_sums:
            found += published.problems(root, published_sums)
    problems = [replace(each, file=str(file)) for each in found if each.file in (name, folder_of(event))]
    return Verdict(
        event, version, list(dict.fromkeys(problems)), _ask_registry(f"{topic}-{NAMESPACE}.{event}", text)
    )


def _read(file: Path) -> tuple[str, str, object]:
    """Returns the text, the name of the event, and its topic. Raises BadUsage."""
    try:
        text = file.read_text("utf-8")
        schema = load(text, str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"{file} cannot be read: {error}") from error
    except ContractError as error:
        raise BadUsage(str(error)) from error
    event = schema.get("name") if isinstance(schema, dict) else None
    if not isinstance(event, str) or not TYPE_NAME.fullmatch(event) or len(event) > 100:
        raise BadUsage(f"{file} names no event: it must be a record with a name, such as OrderPlaced")
    return text, event, schema.get("topic")


def _version(folder: Path, file: Path) -> int:
    """Returns the number of the file, if it is a version of the event already, or else the next one."""
    if not folder.is_dir():
        return 1
    try:
        found = versions(folder)
    except ContractError as error:
        raise BadUsage(f"schemas/{error}") from error
    itself = (number for number, path in found if path.resolve() == file.resolve())
    return next(itself, len(found) + 1)


@contextmanager
def _copy_of_contracts(name: str, text: str) -> Iterator[Path]:
    """Yields a copy of the contracts in which the proposed one is in its place, and no later version of it."""
    with tempfile.TemporaryDirectory(prefix="fanout-contracts-") as folder:
        root = Path(folder, "schemas")
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        place = root / name
        place.parent.mkdir(exist_ok=True)
        number = int(place.stem.removeprefix("v"))
        for later in place.parent.glob("v*.avsc"):
            if later.stem[1:].isdecimal() and int(later.stem[1:]) > number:
                later.unlink()
        place.write_text(text, "utf-8")
        yield root


def _ask_registry(subject: str, text: str) -> bool | None:
    try:
        url = running().registry_url
    except NotRunning:
        return None
    with open_registry(url) as registry:
        return accepts(registry, subject, text)
