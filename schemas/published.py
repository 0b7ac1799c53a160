"""The file published.sha256: the sum of every version of every contract, so that no published version ever changes.

A line is added for each new version by `make schemas`. The format is that of `sha256sum`, run in this folder.
"""

from collections.abc import Collection, Iterator
from hashlib import sha256
from pathlib import Path

from schemas.problem import Problem

FILE = "published.sha256"
ADD_ONE = "put its bytes back, as `git restore` does, and add the next version beside it"


def problems(root: Path) -> Iterator[Problem]:
    """Yields a problem for each version that was changed or deleted, or has no line yet."""
    try:
        listed, found = read_sums(root), sums_of(root)
    except ValueError as error:
        yield Problem(FILE, "", f"a line is not `sum  path`: {error}", "restore it with git")
        return
    for name, published in listed.items():
        if name not in found:
            yield Problem(name, "", "a published version was deleted", ADD_ONE)
        elif found[name] != published:
            yield Problem(name, "", "a published version was changed", ADD_ONE)
    for name in found.keys() - listed.keys():
        yield Problem(name, "", f"it has no line in {FILE}", "run `make schemas`")


def write_sums(root: Path, fixed: Collection[str]) -> None:
    """Writes the sums of all versions that are there. The lines of `fixed`, which are published, stay as they are."""
    kept = {name: published for name, published in read_sums(root).items() if name in fixed}
    lines = [f"{value}  {name}\n" for name, value in sorted((sums_of(root) | kept).items())]
    (root / FILE).write_text("".join(lines))


def read_sums(root: Path) -> dict[str, str]:
    """Returns the published sum of each version, by its path below `root`. Raises ValueError for a malformed line."""
    file = root / FILE
    lines = file.read_text().splitlines() if file.exists() else []
    return {name: value for value, name in (line.split("  ", 1) for line in lines)}


def sums_of(root: Path) -> dict[str, str]:
    """Returns the sum of each version that is there now, by its path below `root`."""
    files = sorted(root.glob("*/*.avsc"))
    return {file.relative_to(root).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files}
