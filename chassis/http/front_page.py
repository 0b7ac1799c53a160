"""What an API answers at `/`: what it is, where its page, its health and its document are, and how to get a token."""

from dataclasses import dataclass
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

VARY = {"Vary": "Accept"}

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<style>
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 3rem auto; padding: 0 1rem }}
  dt {{ font-weight: bold; margin-top: .75rem }}
</style>
<h1>{name}</h1>
<p>{about}</p>
<dl>
{links}
  <dt>a token</dt><dd><code>{customer}</code> prints a customer's, <code>{operator}</code> an operator's</dd>
</dl>
"""
LINK = '  <dt><a href="{target}">{path}</a></dt><dd>{what}</dd>'

PATHS = {
    "/docs": "the page on which requests can be tried",
    "/openapi.json": "the same for programs",
    "/health/ready": "whether it can work now",
    "/metrics": "figures for Prometheus",
}
TOKENS = {"customer": "fanout token ada", "operator": "fanout token --operator"}


@dataclass(frozen=True, slots=True)
class FrontPage:
    """`about` says in a sentence what the API is for."""

    name: str
    about: str

    def route(self) -> Route:
        """Returns the route of `/`: a page for browsers, JSON for everybody else. All links are relative."""
        html = PAGE.format(
            name=escape(self.name),
            about=escape(self.about),
            links="\n".join(
                LINK.format(target=path.removeprefix("/"), path=path, what=what)
                for path, what in PATHS.items()
            ),
            **TOKENS,
        )
        document = {"name": self.name, "about": self.about, "paths": PATHS, "tokens": TOKENS}

        async def show(request: Request) -> Response:
            if prefers_html(request.headers.get("accept", "")):
                return HTMLResponse(html, headers=VARY)
            return JSONResponse(document, headers=VARY)

        return Route("/", show)


def prefers_html(accept: str) -> bool:
    """Returns True if an Accept header names HTML, and JSON not at all or with a lower weight."""
    weights = dict(map(_weighed, accept.lower().split(",")))
    html, json = weights.get("text/html", 0.0), weights.get("application/json", 0.0)
    return html > json


def _weighed(media_range: str) -> tuple[str, float]:
    """Returns a media type and its weight; one that cannot be read counts as 0."""
    name, *parameters = (part.strip() for part in media_range.split(";"))
    weight = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0
