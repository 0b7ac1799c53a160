"""One command at a time may change which processes the stack of a home has."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from fanout.errors import FanoutError
from fanout.local.stack_directory import StackDirectory


@contextmanager
def held(home: StackDirectory) -> Iterator[None]:
    """The lock ends with the process that holds it, however that ends."""
    home.path.mkdir(parents=True, exist_ok=True)
    with home.lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FanoutError(f"another command changes the stack in {home.path}: wait for it") from None
        yield
