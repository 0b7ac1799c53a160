"""The bill of materials in CycloneDX 1.6 (ECMA-424), from the same list as the page of licences."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docs.dependencies.locked import Component
from fanout.local.downloads import pinned

JAR = re.compile(r"(.+?)-(\d[\w.+-]*)\.jar")


def bill(components: Iterable[Component]) -> dict[str, Any]:
    """Returns the document. It has no time and no random serial number: the same locks give the same bill."""
    entries = [_entry(each) for each in components]
    registry = next(entry for entry in entries if "apicurio-registry-app" in entry["name"])
    if inside := jars_inside_the_registry():
        registry["components"] = inside
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "fanout",
                "bom-ref": "fanout",
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": entries,
        "dependencies": [{"ref": "fanout", "dependsOn": [entry["bom-ref"] for entry in entries]}],
    }


def jars_inside_the_registry() -> list[dict[str, Any]]:
    """Returns the archives of the unpacked registry; none if it was never downloaded on this machine."""
    folder = next(artifact.path for artifact in pinned() if artifact.is_archive)
    return [entry for jar in sorted(folder.rglob("*.jar")) if (entry := _jar(jar))]


def _jar(file: Path) -> dict[str, Any] | None:
    """Reads group, name and version from the file's name, as Quarkus writes it: group.name-version.jar."""
    found = JAR.fullmatch(file.name)
    if found is None:
        return None
    return {"type": "library", "name": found[1], "version": found[2], "bom-ref": f"registry/{file.name}"}


def _entry(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "container" if component.kind == "image" else "library",
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "bom-ref": component.purl,
        "licenses": [{"expression": component.licence}],
        "properties": [{"name": "fanout:where", "value": component.where}],
    }
    if component.sha256:
        entry["hashes"] = [{"alg": "SHA-256", "content": component.sha256}]
    return entry
