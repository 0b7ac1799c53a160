"""What `fanout new-consumer` writes: laid out as the linters want it, whatever the name and the events."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import schemas
from fanout.scaffold.consumer import files, stored_events
from tests.support.handling import example

EVERY = [event_type.NAME for event_type in schemas.EVENTS]
LONGEST_NAME = "a_name_as_long_as_names_are_allowed_to_be"


def written(folder: Path, name: str, events: list[str]) -> Path:
    for path, text in files(name, stored_events(events)).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def ruff(folder: Path, *arguments: str) -> str:
    config = Path(__file__).parents[2] / "pyproject.toml"
    source = f'src = ["{config.parent}", "{folder}"]'
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config", str(config)]
    done = subprocess.run([*command, "--config", source, str(folder)], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One consumer for each event, one for all of them, and one with the longest name."""
    folder = tmp_path_factory.mktemp("scaffold")
    for number, event in enumerate(EVERY):
        written(folder, f"of_one_{number}", [event])
    written(folder, "of_all", EVERY)
    return written(folder, LONGEST_NAME, EVERY[:2])


def test_new_code_passes_the_linter_unedited(folder: Path) -> None:
    assert not ruff(folder, "check")


def test_new_code_is_formatted_already(folder: Path) -> None:
    assert not ruff(folder, "format", "--check")


def test_the_handler_on_the_page_is_the_one_that_is_written() -> None:
    page = (Path(__file__).parents[2] / "docs/add-a-consumer.md").read_text()
    (shown,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    service = files("loyalty", stored_events(["OrderConfirmed"]))["services/loyalty/service.py"]
    assert service.endswith(f"\n\n\n{shown}")


def test_a_table_is_called_after_what_happened() -> None:
    tables = {stored.event: stored.table for stored in stored_events(EVERY)}
    assert tables["OrderConfirmed"] == "confirmed_orders"
    assert tables["StockReserved"] == "reserved_stock"
    assert len(set(tables.values())) == len(EVERY)


def test_a_row_says_which_what_and_how_much() -> None:
    [stored] = stored_events(["OrderConfirmed"])
    assert stored.columns == {"order_id": "Text", "customer_id": "Text", "total_cents": "BigInteger"}


def test_an_event_named_twice_is_stored_once() -> None:
    assert [stored.event for stored in stored_events(["OrderPlaced", "OrderPlaced"])] == ["OrderPlaced"]


@pytest.mark.parametrize("event_type", schemas.EVENTS, ids=lambda event_type: event_type.NAME)
def test_there_is_an_example_of_every_event_for_a_consumers_test(event_type: type[schemas.Event]) -> None:
    event = example(event_type)
    assert event_type.from_record(event.to_record()) == event
