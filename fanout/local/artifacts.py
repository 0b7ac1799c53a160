"""The pinned Java software: which files, and the sha256 each must have."""

from dataclasses import dataclass
from pathlib import Path

PINNED = Path(__file__).with_name("maven.sha256")


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository: group:name:version[:packaging:classifier]."""

    sha256: str
    group: str
    name: str
    version: str
    packaging: str = "jar"
    classifier: str = ""

    @property
    def filename(self) -> str:
        tail = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{tail}.{self.packaging}"

    @property
    def is_archive(self) -> bool:
        return self.packaging == "tar.gz"


def pinned(file: Path = PINNED) -> list[Artifact]:
    return [_parse(line) for line in file.read_text().splitlines() if line.strip()]


def _parse(line: str) -> Artifact:
    sha256, coordinates = line.split()
    return Artifact(sha256, *coordinates.split(":"))
