"""The file published.sha256: the sum of every version of every contract.

A line is added for each new version by `make schemas`. The lines of an earlier commit are what is published, and a
published version never changes. The format is that of `sha256sum`, run in this folder.
"""

import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from schemas.generator import folders, is_retired
from schemas.model import ContractError
from schemas.problem import Problem

FILE = "published.sha256"
LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9_]+/v[1-9][0-9]*\.avsc)")
ADD_ONE = "put its bytes back, as `git restore` does, and add the next version beside it"
WRITE_IT = "run `make schemas`"

Sums = Mapping[str, str]
"""The sum of each version, by its path below schemas/."""


def problems(root: Path, published: Sums) -> Iterator[Problem]:
    """Yields a problem for each published version that was changed or deleted, and for sums that are out of date."""
    found = sums_of(root)
    for name, value in published.items():
        if name not in found:
            yield Problem(name, "", "a published version was deleted", ADD_ONE)
        elif found[name] != value:
            yield Problem(name, "", "a published version was changed", ADD_ONE)
    try:
        listed = parse_sums(_read(root))
    except ContractError as error:
        yield Problem(FILE, "", str(error), WRITE_IT)
        return
    for name in sorted((found.keys() | listed.keys()) - published.keys()):
        if name not in listed:
            yield Problem(name, "", f"it has no line in {FILE}", WRITE_IT)
        elif listed[name] != found.get(name):
            yield Problem(name, "", f"its line in {FILE} is out of date", WRITE_IT)
    for name in sorted(published.keys() & found.keys()):
        if listed.get(name) != published[name]:
            yield Problem(FILE, "", f"the line of {name}, which is published, was changed", WRITE_IT)


def problems_of_retired(root: Path, published: Sums) -> Iterator[Problem]:
    """Yields a problem for each retired event that gets another version, or does not say why it is retired."""
    for folder in filter(is_retired, folders(root)):
        reason = folder / "retired.md"
        if not reason.read_text("utf-8", "replace").strip():
            yield Problem(
                f"{folder.name}/{reason.name}", "", "it is empty", "say when and why it was retired"
            )
        for name in sums_of(root).keys() - published.keys():
            if name.startswith(f"{folder.name}/"):
                yield Problem(name, "", "the event is retired", "publish a new event type beside it instead")


def write_sums(root: Path, published: Sums) -> None:
    """Writes the sums of all versions that are there; the lines of published ones stay as they are published."""
    lines = [f"{value}  {name}\n" for name, value in sorted({**sums_of(root), **published}.items())]
    (root / FILE).write_text("".join(lines), "utf-8")


def read_sums(root: Path) -> Sums:
    """Returns the sums in the file; none if there is no file. Raises ContractError for a line that is no sum."""
    return parse_sums(_read(root))


def parse_sums(text: str) -> Sums:
    """Raises ContractError for a line that is no sum, and names the line."""
    sums = {}
    for number, line in enumerate(text.splitlines(), start=1):
        match = LINE.fullmatch(line)
        if match is None:
            raise ContractError(f"line {number} is not a sum, two spaces and a path: {line[:60]!r}")
        sums[match[2]] = match[1]
    return sums


def sums_of(root: Path) -> Sums:
    """Returns the sum of each version that is there now."""
    files = sorted(file for file in root.glob("*/*.avsc") if file.is_file())
    return {file.relative_to(root).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}


def _read(root: Path) -> str:
    try:
        return (root / FILE).read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"it cannot be read: {error}") from error
