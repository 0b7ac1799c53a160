"""Gives tests the running system."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support.stack import Stack
from tests.support.system import System


@pytest.fixture
async def system(stack: Stack) -> AsyncIterator[System]:
    async with httpx.AsyncClient(timeout=10) as http:
        yield System(stack, http)
