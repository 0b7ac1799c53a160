"""Tests that last by nature, on the same running system: `make test-slow`."""

from tests.system.conftest import system

__all__ = ["system"]
