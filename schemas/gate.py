"""The gate of `fanout schemas check`: finds what is wrong with the contracts of a folder, without any server.

Each version must be a valid contract and keep the rules; it must be compatible with all earlier ones in both
directions, as the registry's FULL_TRANSITIVE means it; published versions must not have changed; and the Python types
must match the newest versions.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from schemas import published, rules
from schemas.compatibility import SchemaError, breaks
from schemas.generator import drift, folders, is_retired, versions
from schemas.model import ContractError
from schemas.parsing import NAMESPACE, load, parse, read_text
from schemas.problem import Problem

FORMAT = "see the other contracts for what is supported"


def problems(root: Path) -> list[Problem]:
    """Returns all problems, in the order of files; an empty list if the contracts may be published."""
    found = [problem for folder in folders(root) for problem in _of_event(folder)]
    found += published.problems(root)
    if not found:
        found += _of_generated(root)
    return sorted(set(found), key=lambda problem: (problem.file, problem.path))


def breaking(old: tuple[int, Any], new: tuple[int, Any], file: str) -> list[Problem]:
    """Returns what breaks between two versions, given as a number and parsed JSON each. Raises SchemaError."""
    (old_version, old_schema), (new_version, new_schema) = old, new
    found = breaks(old_schema, new_schema, old_version, new_version)
    return [Problem(file, each.path, each.reason, each.remedy) for each in found]


def retired_subjects(root: Path) -> set[str]:
    """Returns the registry's subjects of retired events."""
    newest = (versions(folder)[-1][1] for folder in folders(root) if is_retired(folder))
    schemas = (load(read_text(path), path.name) for path in newest)
    return {f"{schema['topic']}-{NAMESPACE}.{schema['name']}" for schema in schemas}


def rule_problems(text: str, version: int, file: str) -> list[Problem]:
    """Returns why one text is not a valid contract, or which rules it breaks."""
    try:
        return list(rules.problems(parse(text, version, file), file))
    except ContractError as error:
        return [_problem(file, error)]


def _of_event(folder: Path) -> Iterator[Problem]:
    try:
        files = versions(folder)
    except ContractError as error:
        yield _problem(folder.name, error, "number the versions from 1, each in a file of its own")
        return
    readable = []
    for version, path in files:
        file = f"{folder.name}/{path.name}"
        try:
            text = read_text(path)
            readable.append((version, load(text, file), file))
        except ContractError as error:
            yield _problem(file, error)
            continue
        if not is_retired(folder):
            yield from rule_problems(text, version, file)
    for (old, old_schema, _), (new, new_schema, file) in combinations(readable, 2):
        try:
            yield from breaking((old, old_schema), (new, new_schema), file)
        except SchemaError as error:
            yield Problem(file, "", str(error), FORMAT)


def _problem(file: str, error: ContractError, remedy: str = FORMAT) -> Problem:
    return Problem(file, "", str(error).removeprefix(f"{file}: "), remedy)


def _of_generated(root: Path) -> Iterator[Problem]:
    """Yields what several contracts together do wrong, or else which generated files are out of date."""
    try:
        for path in drift(root):
            yield Problem(
                path.relative_to(root).as_posix(), "", "it does not match its contract", "run `make schemas`"
            )
    except ContractError as error:
        file, _, what = str(error).partition(": ")
        yield Problem(file, "", what, "compare it with the other contracts")
