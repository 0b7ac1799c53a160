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


def test_new_blocks_are_those_of_other_services_with_folders_of_secrets_of_their_own(file: Path) -> None:
    assert blocks.add("loyalty", file) == ["loyalty-api", "loyalty-worker"]
    assert text_of("loyalty-worker", file) == text_of("fraud-worker", file).replace("fraud", "loyalty")
    of_analytics = text_of("analytics-api", file).replace("analytics", "loyalty")
    assert text_of("loyalty-api", file) == of_analytics.replace("ANALYTICS_PORT:-8103", "LOYALTY_PORT:-8105")


def test_two_apis_have_two_ports(file: Path) -> None:
    for name in ("loyalty", "rewards"):
        blocks.add(name, file)
    assert [port in text_of("rewards-api", file) for port in ("8105", "8106")] == [False, True]


def test_a_block_that_is_there_is_not_added_again(file: Path) -> None:
    blocks.add("loyalty", file)
    before = file.read_text()
    assert blocks.add("loyalty", file) == []
    assert file.read_text() == before


def test_a_block_that_is_removed_leaves_nothing_behind(file: Path) -> None:
    before = file.read_text()
    for name in blocks.add("loyalty", file):
        blocks.remove(name, file)
    assert file.read_text() == before
