"""Writes docs/licences.md from the lock files: `python -m docs.dependencies`, or with --check only compares.

`--sbom` prints a bill of materials in CycloneDX, `--audit` the known vulnerabilities of what is pinned.
"""

import json
import sys
from pathlib import Path

from docs.dependencies.advisories import Unreachable, known_vulnerabilities
from docs.dependencies.locked import components, is_allowed
from docs.dependencies.page import text
from docs.dependencies.sbom import bill

PAGE = Path(__file__).parents[1] / "licences.md"


def main(arguments: list[str]) -> str | int:
    """Returns the exit code: 1, or a sentence, if something is to be done; 2 if nothing could be found out."""
    found = components()
    if arguments == ["--sbom"]:
        print(json.dumps(bill(found), indent=2))
        return 0
    if arguments == ["--audit"]:
        return audit()
    foreign = [each for each in found if not is_allowed(each)]
    if foreign:
        names = ", ".join(f"{each.name} ({each.licence})" for each in foreign)
        return f"not among the licences of docs/dependencies/known.toml: {names}"
    if arguments == ["--check"]:
        return (
            0 if PAGE.read_text() == text(found) else f"{PAGE.name} is not what the lock files say: make docs"
        )
    PAGE.write_text(text(found))
    return 0


def audit() -> int:
    found = components()
    try:
        vulnerable = known_vulnerabilities(found)
    except Unreachable as error:
        print(f"nothing was found out: {error}; connect, then make audit", file=sys.stderr)
        return 2
    for purl, ids in vulnerable.items():
        print(f"{purl}: {', '.join(ids)}")
    print(f"{len(found)} dependencies, {len(vulnerable)} with known vulnerabilities")
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
