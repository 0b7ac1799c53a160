"""What is wrong with a contract, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """`file` is a path below schemas/; `path` names the field, such as `OrderPlaced.lines[].quantity`, or is ""."""

    file: str
    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.path else self.what
