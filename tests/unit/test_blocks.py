"""A consumer's block in docker-compose.yml: added where services end, and taken away without a trace."""

import re
import shutil
from pathlib import Path

import pytest

from fanout.compose import blocks
from fanout.repository import services


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(blocks.FILE, tmp_path))


def text_of(name: str, file: Path) -> str:
    found = re.search(rf"^  {name}:\n(?:    .*\n)+", file.read_text(), re.MULTILINE)
    assert found, f"{name} has no block"
    return found[0]


def test_every_service_has_its_blocks() -> None:
    folder = blocks.FILE.parent / "services"
    apis = [f"{name}-api" for name in services() if (folder / name / "api.py").exists()]
    assert sorted(blocks.names()) == sorted([*(f"{name}-worker" for name in services()), *apis])


def test_a_new_block_is_that_of_a_worker_with_its_own_folder_of_secrets(file: Path) -> None:
    assert blocks.add_worker("loyalty", file) == ["loyalty-worker"]
    assert text_of("loyalty-worker", file) == text_of("fraud-worker", file).replace("fraud", "loyalty")


def test_a_block_that_is_there_is_not_added_again(file: Path) -> None:
    blocks.add_worker("loyalty", file)
    assert blocks.add_worker("loyalty", file) == []


def test_a_block_that_is_removed_leaves_nothing_behind(file: Path) -> None:
    before = file.read_text()
    blocks.add_worker("loyalty", file)
    blocks.remove("loyalty-worker", file)
    assert file.read_text() == before
