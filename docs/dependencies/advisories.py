"""Asks the database of osv.dev which of the pinned versions have known vulnerabilities, all in one request."""

from collections.abc import Sequence

import httpx

from docs.dependencies.locked import Component

DATABASE = "https://api.osv.dev"
ANSWER_SECONDS = 30


class Unreachable(Exception):
    """The database does not answer, so nothing is known about vulnerabilities."""


def known_vulnerabilities(components: Sequence[Component], database: str = DATABASE) -> dict[str, list[str]]:
    """Returns the ids of advisories by purl, without images, which the database does not know. Raises Unreachable.

    This request is for the internet, so the user's proxies and certificates hold.
    """
    asked = [each.purl for each in components if each.kind != "image"]
    queries = [{"package": {"purl": purl.partition("?")[0]}} for purl in asked]
    try:
        answer = httpx.post(f"{database}/v1/querybatch", json={"queries": queries}, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        results = answer.json()["results"]
        found = {
            purl: [str(each["id"]) for each in result.get("vulns", [])]
            for purl, result in zip(asked, results, strict=True)
        }
    except (httpx.HTTPError, ValueError, LookupError, TypeError, ImportError, OSError) as error:
        raise Unreachable(
            f"{database} does not answer as it should ({type(error).__name__}: {error})"
        ) from error
    return {purl: ids for purl, ids in found.items() if ids}
