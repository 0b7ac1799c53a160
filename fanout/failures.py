"""Says of an error that no command expected what kind it is, and what to do: network, disk, database, and so on.

The kind is found by the module of its class, so that no library is imported for it.
"""

import errno
from collections.abc import Iterator
from typing import NamedTuple

from fanout.errors import FanoutError, FolderFull

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)

BUG = "bug"
NETWORK = "network"


class Kind(NamedTuple):
    """A word for errors of one kind, and what to do about them."""

    word: str
    remedy: str


FILE = Kind("file", "look whether it is there and whose it is")
PERMISSION = Kind("permission", "look whose it is, and who may read and write it")
LIMIT = Kind("limit", "ulimit -n 4096, then try again")
MEMORY = Kind("memory", "end other programs, then try again; fanout status shows what the stack takes")
PROGRAM = Kind("program", "it was started by fanout and failed; its own message says more")
OF_NETWORK = Kind(NETWORK, "look whether what it asks runs: fanout status")
OF_BUG = Kind(BUG, "FANOUT_DEBUG=1 shows where; please report it")

BY_MODULE = {
    "confluent_kafka.schema_registry": Kind("registry", "fanout status, fanout logs registry"),
    "confluent_kafka": Kind("broker", "fanout status, fanout logs kafka"),
    "cimpl": Kind("broker", "fanout status, fanout logs kafka"),
    "sqlalchemy": Kind("database", "fanout status, fanout logs postgres"),
    "asyncpg": Kind("database", "fanout status, fanout logs postgres"),
    "alembic": Kind("database", "fanout status, fanout logs postgres"),
    "httpx": OF_NETWORK,
    "httpx2": OF_NETWORK,
    "httpcore": OF_NETWORK,
    "ssl": OF_NETWORK,
    "xmlrpc": Kind("supervisor", "fanout down, then fanout up"),
    "psutil": Kind("processes", "try again; fanout status shows what runs"),
    "subprocess": PROGRAM,
}


class UnexpectedFailure(FanoutError):
    """An error that no command expected. A bug exits with 1, what the surroundings did with 2."""

    def __init__(self, kind: Kind, error: BaseException) -> None:
        what = " ".join(str(error).split()) or type(error).__name__
        named = f"{type(error).__name__}: {what}" if kind.word == BUG else what
        super().__init__(f"{kind.word}: {named}: {kind.remedy}")
        self.exit_code = 1 if kind.word == BUG else 2


def explained(error: BaseException) -> FanoutError:
    """Returns the sentence for an error; one that is a sentence already is returned as it is."""
    error = _first(error)
    if isinstance(error, FanoutError):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        return FolderFull(error)
    return UnexpectedFailure(kind_of(error), error)


def _first(error: BaseException) -> BaseException:
    """Returns the first error of a group: the others are mostly its consequences."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def kind_of(error: BaseException) -> Kind:
    """Returns the kind by the module of the error's class or of one that it derives from."""
    for module in _modules(error):
        if module in BY_MODULE:
            return BY_MODULE[module]
    if isinstance(error, OSError):
        return _kind_of_system_error(error)
    return MEMORY if isinstance(error, MemoryError) else OF_BUG


def _modules(error: BaseException) -> Iterator[str]:
    """Yields the modules of the class and its bases, each with the packages around it, the innermost first."""
    for base in type(error).__mro__:
        parts = base.__module__.split(".")
        yield from (".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _kind_of_system_error(error: OSError) -> Kind:
    """A refusal of the network is an OSError without a file; a firewall's is even a PermissionError."""
    if error.errno in TOO_MANY_FILES:
        return LIMIT
    if error.errno == errno.ENOMEM:
        return MEMORY
    if error.filename is None:
        return OF_NETWORK
    return PERMISSION if isinstance(error, PermissionError) else FILE
