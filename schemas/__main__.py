"""`python -m schemas` generates the Python types from the .avsc files; `--check` exits 1 if one is not up to date."""

import sys
from pathlib import Path

from schemas.generator import drift, write
from schemas.model import ContractError

ROOT = Path(__file__).parent


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python -m schemas [--check]", file=sys.stderr)
        return 2
    try:
        return check() if arguments else generate()
    except ContractError as error:
        print(error, file=sys.stderr)
        return 1


def generate() -> int:
    write(ROOT)
    return 0


def check() -> int:
    drifted = drift(ROOT)
    for path in drifted:
        print(
            f"{path.relative_to(ROOT.parent)} does not match its .avsc: run `make schemas`", file=sys.stderr
        )
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
