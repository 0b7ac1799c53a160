"""What this repository pins: Python packages, Java archives, Go modules and images, each with its licence."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fanout.local.downloads import pinned
from fanout.repository import REPOSITORY

KNOWN = Path(__file__).with_name("known.toml")
LOCKS = {
    "a service's image": "deploy/service.lock",
    "the tool's image": "deploy/tool.lock",
    "the local stack and development": "requirements.lock",
}
"""From the smallest to the one that has all."""
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
REQUIRED_MODULE = re.compile(r"^(?:require )?\s*([a-z0-9.-]+\.[a-z]+/\S+) (v\S+)", re.MULTILINE)
IMAGE = re.compile(r"^(?:\s+image:|FROM) ([a-z][a-z0-9./-]*):(\S+)", re.MULTILINE)
SPDX = {
    "Apache 2": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
UNKNOWN = "unknown"


@dataclass(frozen=True, order=True)
class Component:
    """`where` says which part of the system has it; `sha256` is known where there is one file for all machines."""

    kind: str
    name: str
    version: str
    licence: str
    where: str
    purl: str
    sha256: str = ""


def components() -> list[Component]:
    known = tomllib.loads(KNOWN.read_text())
    return sorted(
        [*_python(known["python"]), *_maven(known["maven"]), *_go(known["go"]), *_images(known["images"])]
    )


def is_allowed(component: Component) -> bool:
    """Returns False if a dependency of its kind may not have such a licence."""
    known = tomllib.loads(KNOWN.read_text())["allowed"]
    licences = {*known["expressions"], *(known["images"] if component.kind == "image" else [])}
    return set(licences_in(component.licence)) <= licences


def licences_in(expression: str) -> list[str]:
    """Returns the licences of an SPDX expression; an exception belongs to its licence."""
    return [part.strip("() ") for part in re.split(r" AND | OR ", expression)]


def _python(known: dict[str, str]) -> Iterator[Component]:
    where: dict[tuple[str, str], str] = {}
    for place, lock in LOCKS.items():
        for name, version in REQUIREMENT.findall((REPOSITORY / lock).read_text()):
            where.setdefault((name, version), place)
    for (name, version), place in where.items():
        licence = known.get(name) or _licence_of_installed(name)
        yield Component("Python", name, version, licence, place, f"pkg:pypi/{name}@{version}")


def _licence_of_installed(name: str) -> str:
    """Reads the licence from the package's metadata: the expression, else its licence field, else its classifier."""
    try:
        told: Any = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    classifiers = [
        each.split(" :: ")[-1] for each in told.get_all("Classifier", []) if each.startswith("License")
    ]
    named = (told.get("License-Expression"), told.get("License"), *classifiers)
    found = next((each for each in named if each and len(each) < 60 and each != "OSI Approved"), UNKNOWN)
    return SPDX.get(found, found)


def _maven(known: dict[str, str]) -> Iterator[Component]:
    for artifact in pinned():
        licence = known.get(f"{artifact.group}:{artifact.name}") or known.get(artifact.group, UNKNOWN)
        name, purl = f"{artifact.group}:{artifact.name}", f"pkg:maven/{artifact.group}/{artifact.name}"
        qualifiers = f"?type={artifact.packaging}" + (
            f"&classifier={artifact.classifier}" if artifact.classifier else ""
        )
        version = f"@{artifact.version}{qualifiers if artifact.is_archive else ''}"
        yield Component(
            "Java", name, artifact.version, licence, "the local stack", purl + version, artifact.sha256
        )


def _go(known: dict[str, str]) -> Iterator[Component]:
    text = (REPOSITORY / "examples/go-consumer/go.mod").read_text()
    for name, version in REQUIRED_MODULE.findall(text):
        prefix = max((each for each in known if name.startswith(each)), key=len, default="")
        licence = known.get(prefix, UNKNOWN)
        yield Component("Go", name, version, licence, "the consumer in Go", f"pkg:golang/{name}@{version}")


def _images(known: dict[str, str]) -> Iterator[Component]:
    text = "".join((REPOSITORY / name).read_text() for name in ("docker-compose.yml", "deploy/Dockerfile"))
    for name, version in sorted(set(IMAGE.findall(text))):
        path = name if "/" in name else f"library/{name}"
        yield Component(
            "image", name, version, known.get(name, UNKNOWN), "containers", f"pkg:docker/{path}@{version}"
        )
