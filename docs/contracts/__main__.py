"""Writes the contracts' documents, or with --check only compares them: `python -m docs.contracts`.

They are docs/asyncapi.yaml, docs/openapi/ and docs/contracts.html.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

try:
    import schemas  # noqa: F401
except Exception as broken:
    sys.exit(
        f"the generated code of schemas/ cannot be imported ({type(broken).__name__}: {broken}): "
        "make schemas, then try again"
    )

from docs.contracts.asyncapi import document, to_yaml
from docs.contracts.examples import NoExample
from docs.contracts.headers import UndescribedHeader
from docs.contracts.openapi import documents, to_json
from docs.contracts.page import to_html
from docs.contracts.system import read_system

DOCS = Path(__file__).parents[1]


def main(arguments: list[str], folder: Path = DOCS) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python -m docs.contracts [--check]", file=sys.stderr)
        return 2
    try:
        wanted = files()
    except (NoExample, UndescribedHeader) as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments:
        write(folder, wanted)
        return 0
    different = drift(folder, wanted)
    if different:
        print(f"not what contracts and services say: {', '.join(different)}: run make docs", file=sys.stderr)
    return 1 if different else 0


def files() -> dict[str, str]:
    """Returns the text of each document by its path under docs/. Raises NoExample or UndescribedHeader."""
    asyncapi, apis = document(read_system()), documents()
    return {
        "asyncapi.yaml": to_yaml(asyncapi),
        "contracts.html": to_html(asyncapi, apis),
        **{f"openapi/{service}.json": to_json(api) for service, api in apis.items()},
    }


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Writes the documents, and deletes those of APIs that are gone."""
    (folder / "openapi").mkdir(exist_ok=True)
    for path, text in wanted.items():
        (folder / path).write_text(text)
    for path in orphans(folder, wanted):
        (folder / path).unlink()


def drift(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Returns the documents that are missing, different or no longer wanted, by their paths in the repository."""
    changed = [path for path, text in wanted.items() if _text(folder / path) != text]
    return [f"docs/{path}" for path in sorted([*changed, *orphans(folder, wanted)])]


def orphans(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    present = {file.relative_to(folder).as_posix() for file in folder.glob("openapi/*.json")}
    return sorted(present - wanted.keys())


def _text(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
