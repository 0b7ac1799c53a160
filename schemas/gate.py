"""The gate of `fanout schemas check`: finds what is wrong with the contracts of a folder, without any server.

Each version must be a valid contract and keep the rules; it must be compatible with all earlier ones in both
directions, as the registry's FULL_TRANSITIVE means it; published versions must not have changed; and the Python types
must match the newest versions.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from schemas import published, rules
from schemas.avro_types import parse_avro
from schemas.compatibility import SchemaError, breaks
from schemas.generator import contracts_of, drift, folders, is_retired, versions
from schemas.model import ContractError
from schemas.parsing import NAMESPACE, load, parse, read_text
from schemas.problem import Problem
from schemas.published import Sums

FORMAT = "see the other contracts for what is supported"


def problems(root: Path, published_sums: Sums) -> list[Problem]:
    """Returns all problems, in the order of files; an empty list if the contracts may be published."""
    found = contract_problems(root)
    found += published.problems(root, published_sums)
    found += published.problems_of_retired(root, published_sums)
    if not found:
        found += _of_generated(root)
    return sorted(set(found), key=lambda problem: (problem.file, problem.path))


def contract_problems(root: Path) -> list[Problem]:
    """Returns the problems of the contracts themselves, whatever was published or generated of them."""
    found = [problem for folder in folders(root) for problem in _of_event(folder)]
    if not found:
        try:
            contracts_of(root)
        except ContractError as error:
            file, _, what = str(error).partition(": ")
            found.append(Problem(file, "", what, "compare it with the other contracts"))
    return found


def retired_subjects(root: Path) -> set[str]:
    """Returns the registry's subjects of retired events."""
    newest = (versions(folder)[-1][1] for folder in folders(root) if is_retired(folder))
    schemas = (load(read_text(path), path.name) for path in newest)
    return {f"{schema['topic']}-{NAMESPACE}.{schema['name']}" for schema in schemas}


def _of_event(folder: Path) -> Iterator[Problem]:
    try:
        files = versions(folder)
    except ContractError as error:
        yield _problem(folder.name, error, "number the versions from 1, each in a file of its own")
        return
    readable = []
    for version, path in files:
        file = f"{folder.name}/{path.name}"
        found = list(_of_version(path, version, file, is_retired(folder)))
        yield from found
        try:
            schema = load(read_text(path), file)
            parse_avro(schema)
            readable.append((version, schema, file))
        except ContractError:
            continue  # it was found above
        except SchemaError as error:
            if not found:
                yield Problem(file, "", str(error), FORMAT)
    for (old, old_schema, _), (new, new_schema, file) in combinations(readable, 2):
        for each in breaks(old_schema, new_schema, old, new):
            yield Problem(file, each.path, each.reason, each.remedy)


def _of_version(path: Path, version: int, file: str, retired: bool) -> Iterator[Problem]:
    """Yields why a version is no contract, or which rules it breaks; a retired one only has to be readable."""
    try:
        text = read_text(path)
        if retired:
            load(text, file)
        else:
            yield from rules.problems(parse(text, version, file), file)
    except ContractError as error:
        yield _problem(file, error)


def _of_generated(root: Path) -> Iterator[Problem]:
    for path in drift(root):
        yield Problem(
            path.relative_to(root).as_posix(), "", "it does not match its contract", "run `make schemas`"
        )


def _problem(file: str, error: ContractError, remedy: str = FORMAT) -> Problem:
    return Problem(file, "", str(error).removeprefix(f"{file}: "), remedy)
