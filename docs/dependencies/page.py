"""The page docs/licences.md: every pinned dependency with its licence and where it is used."""

from collections import Counter
from collections.abc import Iterable, Iterator

from docs.dependencies.locked import Component

HEAD = """# Licences of the dependencies

Written by `make docs` from the lock files; `make check` compares. Fanout itself is under [Apache-2.0](../LICENSE), and
holds no code of theirs. `make sbom` writes the same list as CycloneDX JSON, with the archives inside the registry's;
`make audit` asks osv.dev which versions have known vulnerabilities.
[What may be added](decisions/0099-supply-chain.md).
"""
INSIDE_IMAGES = """
An image holds more than the software that it is named after: a Debian or Alpine with packages of its own. What is in
those, their publishers list; `docker sbom` or syft looks inside.
"""


def text(components: Iterable[Component]) -> str:
    found = list(components)
    return "\n".join([HEAD, *_summary(found), INSIDE_IMAGES, *_tables(found)]).rstrip() + "\n"


def _summary(components: list[Component]) -> Iterator[str]:
    counts = Counter(each.licence for each in components)
    yield "| licence (SPDX) | dependencies |"
    yield "|---|---|"
    yield from (
        f"| {licence} | {count} |"
        for licence, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    )


def _tables(components: list[Component]) -> Iterator[str]:
    for kind in dict.fromkeys(each.kind for each in components):
        yield f"## {kind[0].upper()}{kind[1:]}{'s' if kind == 'image' else ''}"
        yield ""
        yield "| name | version | licence | in |"
        yield "|---|---|---|---|"
        yield from (
            f"| {each.name} | {each.version} | {each.licence} | {each.where} |"
            for each in components
            if each.kind == kind
        )
        yield ""
