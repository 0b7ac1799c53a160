"""The errors that a user can meet; each message is one sentence that says what to do.

FanoutError               exit 1
├── UnexpectedFailure     of fanout.failures: exit 1 for a bug, 2 for what the surroundings did
├── NotRunning            no stack runs in this directory
├── Busy                  another command changes the stack
├── BusyPort              another process listens on a port of the stack
├── WrongSum              a downloaded file has another sha256 than the pinned one
├── ProcessFailed         a process of the stack ended, or did not become ready
├── BrokenCode            a service cannot be imported
├── SetupFailed           a database, topic or migration was refused
│   └── BreakingSchema    the registry refused a schema version
├── Refusal               an API refused a request
│   └── RefusedInput      exit 2: the request was invalid
├── Unreachable           exit 2: a database, Kafka or an API does not answer
├── Unavailable           of fanout.dead_letters_client: exit 2, its API answers, but only that it cannot now
└── BadUsage              exit 2
    ├── UnusableFolder    a folder cannot be written
    ├── FolderFull        nothing can be written any more
    ├── UnknownProcess    no process of that name
    ├── UnknownService    no service of that name
    └── NoNetwork         a file is missing from the cache and cannot be downloaded
"""

from collections.abc import Sequence
from difflib import SequenceMatcher

NEAR = 0.6
"""How much of two names has to be the same to take one for the other, as difflib counts."""


class FanoutError(Exception):
    exit_code = 1


class NotRunning(FanoutError):
    def __init__(self, remedy: str = "fanout up") -> None:
        super().__init__(f"not running: {remedy}")


class Busy(FanoutError):
    def __init__(self, path: str) -> None:
        super().__init__(f"another command changes the stack in {path}: wait for it")


class BusyPort(FanoutError):
    def __init__(self, port: int, wanted_by: str, remedy: str = "set FANOUT_PORT_BASE") -> None:
        super().__init__(
            f"port {port}, wanted by {wanted_by}, is in use: stop what listens there, or {remedy}"
        )


class WrongSum(FanoutError):
    def __init__(self, file: str, expected: str, actual: str) -> None:
        super().__init__(f"{file}: expected sha256 {expected}, got {actual}; it was not kept, try again")


class ProcessFailed(FanoutError):
    def __init__(self, name: str, what: str, log: str = "") -> None:
        super().__init__(f"{name} {what}" + (f"; its log ends:\n{log}" if log else ""))


class BrokenCode(FanoutError):
    def __init__(self, service: str, what: str) -> None:
        super().__init__(
            f"{what}: {service} cannot be imported, so nothing was restarted; what runs keeps its code"
        )


class SetupFailed(FanoutError):
    pass


class BreakingSchema(SetupFailed):
    def __init__(self, subject: str, version: int, reason: str) -> None:
        super().__init__(f"{subject} version {version} breaks its readers, the registry says: {reason}")


class Refusal(FanoutError):
    pass


class RefusedInput(Refusal):
    exit_code = 2


class Unreachable(FanoutError):
    exit_code = 2

    def __init__(self, what: str, address: str, remedy: str = "see fanout status") -> None:
        super().__init__(f"{what} does not answer at {address}: {remedy}")
        self.what, self.address = what, address

    def with_remedy(self, remedy: str) -> "Unreachable":
        return Unreachable(self.what, self.address, remedy)


class BadUsage(FanoutError):
    exit_code = 2


class UnusableFolder(BadUsage):
    def __init__(self, folder: str, reason: str, variable: str) -> None:
        super().__init__(
            f"{folder} cannot be used ({reason}): make room and rights there, or set {variable} to another folder"
        )


class FolderFull(BadUsage):
    """Where is not known: writing into an open file fails without its name."""

    def __init__(self, error: OSError) -> None:
        place = f"{error.filename} " if error.filename else "what had to be written "
        super().__init__(
            f"{place}could not be written ({error.strerror}): make room, or set FANOUT_HOME, XDG_CACHE_HOME or "
            "TMPDIR to a folder on another disk"
        )


class UnknownProcess(BadUsage):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no process {name}{did_you_mean(name, known)}; there are {', '.join(known)}")


class UnknownService(BadUsage):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no service {name}{did_you_mean(name, known)}; there are {', '.join(known)}")


class NoNetwork(BadUsage):
    def __init__(self, file: str, cache: str, reason: str) -> None:
        super().__init__(
            f"{file} is not in {cache} and could not be fetched ({reason}): connect once, then try again"
        )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Returns `, did you mean fraud-worker` for `frad`: the nearest name, if one is near, else nothing.

    Upper case does not count, and a process may be called by its service.
    """
    best, nearest = NEAR, ""
    for each in known:
        for spelling in (each, each.partition("-")[0]):
            likeness = SequenceMatcher(None, name.lower(), spelling.lower()).ratio()
            if likeness > best:
                best, nearest = likeness, each
    return f", did you mean {nearest}" if nearest else ""
