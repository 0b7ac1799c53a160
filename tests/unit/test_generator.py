"""The generator: every supported construct of a contract becomes working, well-formatted Python."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import schemas
from schemas.generator import drift, generate, write
from tests.support.thing_made import LINE, SIZE, field, put, thing

ROOT = Path(schemas.__file__).parent


def test_the_committed_python_matches_the_contracts() -> None:
    assert drift(ROOT) == []


def test_the_same_contracts_make_the_same_python_every_time() -> None:
    assert generate(ROOT) == generate(ROOT)


ALL = thing(
    field("text", "string"),
    field("small", "int"),
    field("large", "long"),
    field("flag", "boolean"),
    field("ratio", "double"),
    field("raw", "bytes"),
    field("size", SIZE),
    field("line", LINE),
    field("tags", {"type": "array", "items": "string"}),
    field("counts", {"type": "array", "items": "int"}),
    field("sizes", {"type": "array", "items": SIZE | {"name": "OtherSize"}}),
    field("lines", {"type": "array", "items": LINE | {"name": "OtherLine"}}),
    field("maybe_small", ["null", "int"], default=None),
    field("maybe_size", ["null", SIZE | {"name": "ThirdSize"}], default=None),
    field("maybe_line_with_a_rather_long_name", ["null", LINE | {"name": "ThirdLine"}], default=None),
    field(
        "maybe_lines_with_a_rather_long_name",
        ["null", {"type": "array", "items": LINE | {"name": "FourthLine"}}],
        default=None,
    ),
    doc='Every construct there is, with a \\ in it, told at such length that it takes "two lines"' * 2,
)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module generated from ALL, imported in place of the real package's neighbours."""
    put(tmp_path, ALL)
    write(tmp_path)
    monkeypatch.setattr(schemas, "__path__", [*schemas.__path__, str(tmp_path)])
    yield importlib.import_module("schemas.thing_made")
    del sys.modules["schemas.thing_made"]


def test_every_construct_goes_to_a_record_and_back(made: Any) -> None:
    line = {"units": 1, "note": None}
    record = {
        "thing_id": "t",
        "thing_version": 3,
        "occurred_at": 1500,
        "text": "x",
        "small": 1,
        "large": 2**40,
        "flag": True,
        "ratio": 0.5,
        "raw": b"\0",
        "size": "S",
        "line": line,
        "tags": ["a"],
        "counts": [1],
        "sizes": ["L"],
        "lines": [line],
        "maybe_small": None,
        "maybe_size": "S",
        "maybe_line_with_a_rather_long_name": line,
        "maybe_lines_with_a_rather_long_name": [line, line],
    }
    event = made.ThingMade.from_record(record)
    assert event.to_record() == record
    assert event.maybe_lines_with_a_rather_long_name == (made.FourthLine(units=1),) * 2
    assert (event.key, event.aggregate_version, event.time.isoformat()) == (
        "t",
        3,
        "1970-01-01T00:00:01.500000+00:00",
    )
    assert (event.NAME, event.TOPIC, event.SCHEMA_VERSION) == ("ThingMade", "things", 1)


def test_what_may_be_null_may_be_left_out(made: Any) -> None:
    assert made.Line(units=1) == made.Line(units=1, note=None)


def test_generated_python_satisfies_ruff_and_mypy(
    made: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = tmp_path_factory.mktemp("alone") / "thing.py"
    alone.write_text(Path(made.__file__).read_text())
    tools = [
        ["ruff", "format", "--check", "--isolated", "--line-length=110"],
        ["ruff", "check", "--config", str(ROOT.parent / "pyproject.toml")],
        ["mypy", "--strict", "--cache-dir", str(tmp_path / "cache")],
    ]
    for tool in tools:
        command = [sys.executable, "-m", *tool, str(alone)]
        done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_class_is_made_from_the_newest_version(tmp_path: Path) -> None:
    put(tmp_path, thing(), version=1)
    for version in range(2, 11):
        put(tmp_path, thing(field(f"added_in_{version}", ["null", "int"], default=None)), version=version)
    text = generate(tmp_path)[tmp_path / "thing_made" / "__init__.py"]
    assert "SCHEMA_VERSION = 10" in text and "added_in_10: Int32 | None = None" in text
    assert "added_in_9" not in text


def test_a_type_of_two_events_is_defined_once_and_imported_by_the_second(tmp_path: Path) -> None:
    put(tmp_path, thing(field("size", SIZE)))
    put(tmp_path, thing(field("size", SIZE), name="ThingSold"), "thing_sold")
    texts = {path.parent.name: text for path, text in generate(tmp_path).items()}
    assert 'Size = Literal["S", "L"]' in texts["thing_made"]
    assert "from schemas.thing_made import Size" in texts["thing_sold"]
    assert "from schemas.thing_made import Size, ThingMade" in texts[tmp_path.name]


def test_the_docs_of_the_contract_are_the_docs_of_the_class(tmp_path: Path) -> None:
    put(tmp_path, thing(field("size", SIZE)))
    text = generate(tmp_path)[tmp_path / "thing_made" / "__init__.py"]
    for doc in ("Made.", "The thing_id.", "The size.", "A size."):
        assert f'"""{doc}"""' in text


def test_drift_names_the_file_that_was_edited_or_is_missing(tmp_path: Path) -> None:
    put(tmp_path, thing())
    write(tmp_path)
    assert drift(tmp_path) == []
    event, package = tmp_path / "thing_made" / "__init__.py", tmp_path / "__init__.py"
    event.write_text(event.read_text() + "# edited\n")
    assert drift(tmp_path) == [event]
    package.unlink()
    assert drift(tmp_path) == [event, package]


def test_a_field_with_a_default_may_be_left_out(tmp_path: Path) -> None:
    defaults = [
        field("text", "string", default=""),
        field("small", "int", default=7),
        field("flag", "boolean", default=False),
        field("ratio", "double", default=0.5),
        field("size", SIZE, default="S"),
        field("tags", {"type": "array", "items": "string"}, default=[]),
    ]
    put(tmp_path, thing(*defaults))
    text = generate(tmp_path)[tmp_path / "thing_made" / "__init__.py"]
    for line in (
        'text: str = ""',
        "small: Int32 = 7",
        "flag: bool = False",
        "ratio: float = 0.5",
        'size: Size = "S"',
        "tags: tuple[str, ...] = ()",
    ):
        assert f"    {line}\n" in text


def test_a_retired_event_keeps_its_contract_and_loses_its_python(tmp_path: Path) -> None:
    put(tmp_path, thing())
    put(tmp_path, thing(name="ThingSold"), "thing_sold")
    write(tmp_path)
    (tmp_path / "thing_sold" / "retired.md").write_text("Nobody buys things any more.")
    assert drift(tmp_path) == [tmp_path / "__init__.py", tmp_path / "thing_sold" / "__init__.py"]
    write(tmp_path)
    assert drift(tmp_path) == []
    assert (tmp_path / "thing_sold" / "v1.avsc").exists()
    assert "ThingSold" not in (tmp_path / "__init__.py").read_text()
