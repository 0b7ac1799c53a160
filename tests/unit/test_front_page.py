"""`/` of an API leads somewhere: a page for browsers, JSON for programs, and never to another host."""

import re

import httpx
import pytest

from chassis.http.front_page import prefers_html
from services.orders.api import app as orders
from tests.support.principals import client_of

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"


async def asked(accept: str | None, method: str = "GET", host: str = "test") -> httpx.Response:
    headers = {"Host": host} | ({} if accept is None else {"Accept": accept})
    async with client_of(orders, headers) as client:
        return await client.request(method, "/")


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML;q=0.9, application/json;q=0.1", True),
        ("*/*", False),
        ("", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=many", False),
    ],
)
def test_a_page_is_only_for_those_who_prefer_it(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


async def test_programs_get_json_that_names_where_to_go_on() -> None:
    answer = await asked(None)
    assert (answer.status_code, answer.headers["vary"]) == (200, "Accept")
    found = answer.json()
    assert (found["name"], found["tokens"]["customer"]) == ("Fanout orders", "fanout token ada")
    assert found["about"].startswith("Takes orders")
    assert {"/docs", "/openapi.json", "/health/ready", "/metrics"} == found["paths"].keys()


async def test_every_path_that_the_front_page_names_exists() -> None:
    paths = {getattr(route, "path", "") for route in orders.routes}
    assert (await asked(None)).json()["paths"].keys() <= paths


async def test_browsers_get_a_page_whose_links_stay_on_this_host() -> None:
    answer = await asked(BROWSER, host="evil.example")
    assert answer.headers["content-type"].startswith("text/html")
    assert "location" not in answer.headers and "evil" not in answer.text
    links = re.findall(r'href="([^"]*)"', answer.text)
    assert links == ["docs", "openapi.json", "health/ready", "metrics"]


async def test_the_front_page_takes_no_post() -> None:
    answer = await asked(None, "POST")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
