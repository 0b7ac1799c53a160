"""One set of containers for all tests in here; `FANOUT_TEST_COMPOSE=1` uses those of this tree, and leaves them."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.containers import Containers, daemon_answers, of_a_copy, of_this_tree
from tests.support.system import System, system_of


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    if os.environ.get("FANOUT_TEST_COMPOSE"):
        yield of_this_tree()
        return
    if not daemon_answers():
        pytest.skip("no Docker daemon answers here, so the containers are not tested")
    made = of_a_copy(Path(tmp_path_factory.mktemp("compose")))
    try:
        made.compose("up", "--build", "--detach", "--wait")
        yield made
    finally:
        made.take_down()


@pytest.fixture
async def system(containers: Containers) -> AsyncIterator[System]:
    async with system_of(containers, answer_seconds=30) as system:
        yield system
