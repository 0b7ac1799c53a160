"""Where other tests look for the type of `new_database`."""

from tests.fixtures import NewDatabase

__all__ = ["NewDatabase"]
