"""A service that is taken away, its block or its folder first, stops none of the others, and comes back whole."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanout.compose import blocks
from tests.support.containers import Containers
from tests.support.system import System

UP = ("up", "--build", "--detach", "--wait", "--remove-orphans")
GONE, CONTAINER = "fraud", "fraud-worker"


@pytest.fixture
def mended(containers: Containers, tmp_path: Path) -> Iterator[Containers]:
    """Puts back, whatever happens, what a test takes away."""
    tree = containers.repository
    shutil.copy(tree / "docker-compose.yml", tmp_path)
    shutil.copytree(tree / "services" / GONE, tmp_path / GONE)
    yield containers
    shutil.copy(tmp_path / "docker-compose.yml", tree)
    shutil.copytree(tmp_path / GONE, tree / "services" / GONE, dirs_exist_ok=True)
    containers.compose(*UP)


async def test_neither_a_block_that_is_deleted_nor_one_that_outlives_its_service_breaks_the_start(
    system: System, mended: Containers
) -> None:
    file = mended.repository / "docker-compose.yml"
    before = file.read_text()
    blocks.remove(CONTAINER, file)
    mended.compose(*UP)
    assert CONTAINER not in mended.inspected()
    await system.until_status(await system.order(), "shipped")

    file.write_text(before)
    shutil.rmtree(mended.repository / "services" / GONE)
    mended.compose(*UP)
    assert f"delete the block {CONTAINER} from docker-compose.yml" in mended.compose("logs", CONTAINER)
    await system.until_status(await system.order(), "shipped")


async def test_a_service_that_comes_back_catches_up(system: System, containers: Containers) -> None:
    await system.settled()
    assert CONTAINER in containers.inspected()
