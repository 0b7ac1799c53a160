"""Generates the Python modules of all .avsc files in a folder. If one file has an error, nothing is written."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from schemas.model import Contract, ContractError, Enum, Record, parts
from schemas.parsing import parse, read_text
from schemas.rendering import folder_of, module, module_name, package

FILE_NAME = re.compile(r"v([1-9][0-9]*)\.avsc")
RETIRED = "retired.md"
"""The file that says when and why an event was retired. Its versions stay for ever, but it has no Python type."""
RUFF = [sys.executable, "-m", "ruff", "format", "--isolated", "--quiet", "--line-length=110"]


def generate(root: Path) -> dict[Path, str]:
    """Returns the text of every generated file by path, made from each event's newest version. Raises ContractError."""
    contracts, owners = contracts_of(root)
    modules = {f"{folder}.py": module(contract, owners) for folder, contract in contracts.items()}
    formatted = _format({**modules, "__init__.py": package(contracts, owners)})
    paths = {f"{folder}.py": root / folder / "__init__.py" for folder in contracts}
    return {paths.get(name, root / name): text for name, text in formatted.items()}


def contracts_of(root: Path) -> tuple[dict[str, Contract], dict[str, str]]:
    """Returns each event's newest version by folder, and the module that defines each nested type.

    Raises ContractError if one is not valid, or if two do not fit together.
    """
    contracts = {folder.name: _newest(folder) for folder in folders(root) if not is_retired(folder)}
    return contracts, _owners(contracts)


def drift(root: Path) -> list[Path]:
    """Returns the paths of generated files that do not match their .avsc. Raises ContractError."""
    texts = generate(root)
    differing = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    return [*differing, *_of_retired(root)]


def write(root: Path) -> None:
    """Writes the generated files, and deletes those of retired events."""
    for path, text in generate(root).items():
        path.write_text(text, "utf-8")
    for path in _of_retired(root):
        path.unlink()


def folders(root: Path) -> list[Path]:
    """Returns the folder of each event, retired ones included; git leaves one with only a cache behind."""
    found = (path for path in root.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    return sorted(path for path in found if any(child.name != "__pycache__" for child in path.iterdir()))


def versions(folder: Path) -> list[tuple[int, Path]]:
    """Returns the versions of an event, oldest first. Raises ContractError if one is missing between two others."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ".avsc")
    found = sorted((_version(path), path) for path in files)
    if not found or [version for version, _ in found] != list(range(1, len(found) + 1)):
        raise ContractError(f"{folder.name}: needs v1.avsc, v2.avsc, ... without a gap")
    return found


def is_retired(folder: Path) -> bool:
    return (folder / RETIRED).exists()


def _newest(folder: Path) -> Contract:
    contracts = [
        parse(read_text(path), version, f"{folder.name}/{path.name}") for version, path in versions(folder)
    ]
    for contract in contracts:
        _require_same_event(contract, contracts[0], folder)
    return contracts[-1]


def _of_retired(root: Path) -> list[Path]:
    """Returns the generated files of retired events."""
    generated = (folder / "__init__.py" for folder in folders(root) if is_retired(folder))
    return [path for path in generated if path.exists()]


def _version(path: Path) -> int:
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise ContractError(f"{path.parent.name}/{path.name}: the name must be v<number>.avsc")
    return int(match[1])


def _require_same_event(contract: Contract, first: Contract, folder: Path) -> None:
    where, expected = f"{folder.name}/v{contract.version}.avsc", folder_of(contract.record.name)
    if expected != folder.name:
        raise ContractError(f"{where}: {contract.record.name} belongs into the folder {expected}")
    if folder.with_suffix(".py").exists():
        raise ContractError(f"{where}: the module {expected}.py already has this name")
    for attribute in ("topic", "key", "version_field"):
        if getattr(contract, attribute) != getattr(first, attribute):
            raise ContractError(f"{where}: {attribute} differs from v1.avsc")


def _owners(contracts: dict[str, Contract]) -> dict[str, str]:
    """Returns the module that defines each nested type: the first one that uses it."""
    definitions: dict[str, Enum | Record] = {each.record.name: each.record for each in contracts.values()}
    owners: dict[str, str] = {}
    for folder, contract in contracts.items():
        for part in parts(contract.record):
            if isinstance(definitions.get(part.name), Record) and folder_of(part.name) in contracts:
                where = f"{folder}/v{contract.version}.avsc"
                raise ContractError(f"{where}: {part.name} is an event; choose another name for the part")
            owners.setdefault(part.name, module_name(folder))
            if definitions.setdefault(part.name, part) != part:
                where = f"{folder}/v{contract.version}.avsc"
                raise ContractError(
                    f"{where}: another event defines {part.name} differently; choose another name"
                )
    return owners


def _format(modules: dict[str, str]) -> dict[str, str]:
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in modules}
        for name, text in modules.items():
            paths[name].write_text(text, "utf-8")
        subprocess.run([*RUFF, folder], check=True)
        return {name: path.read_text("utf-8") for name, path in paths.items()}
