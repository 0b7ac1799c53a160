"""The code uses the field's words: identifiers that were private metaphors do not come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRIVATE_WORDS = """
    Reaction Heard heard Said told stated Letter LetterProcessor filing undertaker peel deeds Deed bury
    Standing Returned send_back mend lane Lane Works Membership suspect convict convicts carefully
    killer sift Tries give_up arrange Tally Errand begun_again pulse Doorbell ring moment forget horizon
    cleanups books conservation on_the_way vouched unfounded surplus foreign looking asking leftovers
    ticker Misfit fitting faults allotment Blueprint Taker OneTransaction Once call_off causes
    set_causes desk mailroom hearing World Plant order_rows
"""
PRIVATE_FORMS = re.compile(r"hear_\w+|note_\w+|\w+Shown")


def sources() -> list[Path]:
    rooms = ("schemas", "chassis", "services", "fanout", "tests")
    return [file.relative_to(ROOT) for room in rooms for file in sorted((ROOT / room).rglob("*.py"))]


def identifiers(file: Path) -> Iterator[tuple[str, int]]:
    """Yields each name that a file defines, imports or uses, and its line."""
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
                yield name.rpartition(".")[2], node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.lineno


@pytest.mark.parametrize("file", sources(), ids=str)
def test_a_file_uses_no_private_word_as_an_identifier(file: Path) -> None:
    found = {
        f"{file}:{line}: {name}"
        for name, line in identifiers(file)
        if name.strip("_") in PRIVATE_WORDS.split() or PRIVATE_FORMS.fullmatch(name.strip("_"))
    }
    assert not found
