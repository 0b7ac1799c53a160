"""Every test of the repository, also that of a new consumer in its own folder, may ask for the same things."""

import os
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.support.stack_fixtures"]


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """Puts back what a test removed from the environment: later ones need its certificates and proxies."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)
