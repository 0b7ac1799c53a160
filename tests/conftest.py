"""Where other tests look for the stack."""

from tests.stack import REPOSITORY, Stack, free_base

__all__ = ["REPOSITORY", "Stack", "free_base"]
