"""Tests that are slow by design, on the same running system: `make test-slow`."""

from tests.system.conftest import system

__all__ = ["system"]
