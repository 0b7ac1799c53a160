"""Every API refuses in the same words and headers, and reads JSON bodies strictly; no database is needed for that."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import asyncpg
import httpx
import pytest
from fastapi import Query, Request
from pydantic import BaseModel
from sqlalchemy import MetaData

from chassis.http.app import Problem, create_api
from chassis.http.json_body import MAX_DEPTH
from chassis.http.problems import AnswerFailures
from chassis.service import Service

JSON = {"Content-Type": "application/json"}
app = create_api(Service("fraud", MetaData()))


class Sale(BaseModel):
    amount: int = 0
    note: str = ""
    extra: dict[str, Any] = {}


@app.get("/sales")
async def list_sales(limit: Annotated[int, Query(ge=1)] = 1) -> list[Sale]:
    return []


@app.post("/sales", status_code=201)
async def sell(sale: Sale) -> Sale:
    return sale


@app.delete("/sales/{number}")
async def delete_sale(number: int) -> None:
    raise Problem(409, "too late", "It is sold.")


@app.get("/host")
async def host(request: Request) -> str:
    return "here"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def errors(refusal: httpx.Response) -> list[tuple[str, str]]:
    assert (refusal.status_code, refusal.headers["content-type"]) == (422, "application/problem+json")
    return [(error["field"], error["message"]) for error in refusal.json()["errors"]]


async def test_a_method_that_a_path_does_not_have_is_405_with_all_that_it_has(
    client: httpx.AsyncClient,
) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        refusal = await client.request(method, "/sales")
        assert (refusal.status_code, refusal.headers["allow"]) == (405, "GET, POST")
    assert (await client.get("/sales/1")).headers["allow"] == "DELETE"
    assert (await client.post("/health/live")).headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/sales/", "/host/"])
async def test_a_slash_too_many_is_404_and_no_redirect_to_the_host_that_a_client_named(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, "location" in answer.headers) == (404, False)
    assert "evil" not in answer.text + str(answer.headers)


async def test_each_status_has_one_title_and_problems_differ_in_their_reason(
    client: httpx.AsyncClient,
) -> None:
    seen: dict[int, set[str]] = {}
    reasons = set()
    for answer in [
        await client.get("/nowhere"),
        await client.put("/sales"),
        await client.delete("/sales/1"),
        await client.delete("/sales/x"),
        await client.get("/sales?limit=0"),
        await client.post("/sales", content="{", headers=JSON),
        await client.post("/sales", content="a=b", headers={"Content-Type": "text/plain"}),
        await client.post("/sales", content=b" " * 70_000, headers=JSON),
    ]:
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem.keys() >= {"type", "title", "status", "reason", "detail"}
        assert problem["status"] == answer.status_code
        seen.setdefault(answer.status_code, set()).add(problem["title"])
        reasons.add(problem["reason"])
    assert seen == {
        404: {"Not Found"},
        405: {"Method Not Allowed"},
        409: {"Conflict"},
        413: {"Content Too Large"},
        415: {"Unsupported Media Type"},
        422: {"Unprocessable Content"},
    }
    assert "too late" in reasons


@pytest.mark.parametrize("path", ["/sales", "/nowhere", "/sales?limit=0", "/health/live", "/openapi.json"])
async def test_data_is_neither_cached_nor_taken_for_another_type(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    assert headers.get_list("cache-control") == ["no-store"]
    assert headers.get_list("x-content-type-options") == ["nosniff"]


async def test_the_pages_of_the_documentation_may_be_cached(client: httpx.AsyncClient) -> None:
    script = await client.get("/static-offline-docs/swagger-ui-bundle.js")
    assert (script.status_code, script.headers.get("cache-control")) == (200, None)


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"', "a/b+json"],
)
async def test_json_by_any_of_its_names_is_read(client: httpx.AsyncClient, content_type: str) -> None:
    content_type = content_type.replace("a/b+json", "application/merge-patch+json")
    answer = await client.post("/sales", content='{"amount": 7}', headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["amount"]) == (201, 7)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonp",
        "json",
    ],
)
async def test_another_content_type_is_415_and_names_the_one_to_send(
    client: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    refusal = await client.post("/sales", content='{"amount": 7}', headers=headers)
    assert (refusal.status_code, refusal.headers["accept"]) == (415, "application/json")


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "nonsense"])
async def test_a_content_encoding_is_415_and_names_the_one_to_send(
    client: httpx.AsyncClient, encoding: str
) -> None:
    body = gzip.compress(b'{"amount": 7}')
    refusal = await client.post("/sales", content=body, headers=JSON | {"Content-Encoding": encoding})
    assert (refusal.status_code, refusal.headers["accept-encoding"]) == (415, "identity")
    plain = await client.post("/sales", content="{}", headers=JSON | {"Content-Encoding": "identity"})
    assert plain.status_code == 201


BAD: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (b"{", "body", "is not JSON"),
    "two documents": (b"{}{}", "body", "is not JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "body", "is not JSON"),
    "bytes that are not UTF-8": (b'{"note": "\xff"}', "body", "byte 10 is not UTF-8"),
    "UTF-16": ('{"note": "x"}'.encode("utf-16"), "body", "is not UTF-8"),
    "a surrogate in UTF-8": (b'{"note": "\xed\xa0\x80"}', "body", "is not UTF-8"),
    "a lone surrogate": (rb'{"note": "\ud800"}', "note", "half of a surrogate pair"),
    "the second half": (rb'{"note": "a\uDC00"}', "note", "half of a surrogate pair"),
    "one that is nested": (rb'{"extra": {"a": ["", "\udfff"]}}', "extra.a[1]", "half of a surrogate pair"),
    "a name that is a surrogate": (rb'{"extra": {"\ud800": 1}}', "extra", "a name"),
    "NUL": (rb'{"note": "a\u0000b"}', "note", "NUL"),
    "a name with NUL": (rb'{"extra": {"\u0000": 1}}', "extra", "a name"),
    "a name twice": (b'{"amount": 1, "amount": 2}', "body", '"amount" more than once'),
    "a nested name twice": (b'{"extra": {"a": {"b": 1, "b": 1}}}', "body", '"b" more than once'),
    "NaN": (b'{"extra": {"a": NaN}}', "body", "NaN is not JSON"),
    "infinity": (b'{"extra": {"a": -Infinity}}', "body", "-Infinity is not JSON"),
    "a number beyond floats": (b'{"extra": {"a": 1e999}}', "body", "out of range"),
    "a huge integer": (b'{"amount": %s}' % (b"9" * 5000), "body", "out of range"),
    "deep nesting": (b'{"extra": {"a": %s%s}}' % (b"[" * 260, b"]" * 260), "body", "nested"),
    "deep nesting of objects": (b'{"extra": %s1%s}' % (b'{"a": ' * 260, b"}" * 260), "body", "nested"),
    "nesting without end": (b"[" * 60_000, "body", "nested"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_json_that_others_read_differently_or_nobody_stores_is_422(
    client: httpx.AsyncClient, bad: tuple[bytes, str, str]
) -> None:
    body, field, message = bad
    [(found, said)] = errors(await client.post("/sales", content=body, headers=JSON))
    assert found == field
    assert message in said


async def test_odd_but_valid_json_is_read_as_it_is(client: httpx.AsyncClient) -> None:
    deep: Any = []
    for _ in range(MAX_DEPTH - 4):
        deep = [deep]
    note = '\\u0000 \\ud800 [[[[ "{{{{" 😀 \x7f' + "[" * 300
    sale = {"amount": 2**62, "note": note, "extra": {"deep": deep, "": 1, "a": [1.5, 10**39, "\U0010ffff"]}}
    for text in (json.dumps(sale), json.dumps(sale, ensure_ascii=False)):
        answer = await client.post("/sales", content=text.encode(), headers=JSON)
        assert (answer.status_code, answer.json()) == (201, sale)


async def test_a_body_that_breaks_off_is_no_bug_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    sent = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/sales", "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not caplog.records


async def test_a_request_whose_statement_a_migration_outdated_is_repeated_once_with_its_body() -> None:
    bodies: list[bytes] = []

    async def api(scope: Any, receive: Any, send: Any) -> None:
        bodies.append((await receive())["body"])
        if len(bodies) in failing:
            raise asyncpg.InvalidCachedStatementError("cached statement plan is invalid")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask() -> int:
        transport = httpx.ASGITransport(AnswerFailures(api))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return (await client.post("/", content=b"order")).status_code

    failing = {1}
    assert (await ask(), bodies) == (200, [b"order"] * 2)
    failing = {3, 4}
    assert (await ask(), len(bodies)) == (503, 4)


async def test_a_request_that_the_end_of_the_server_interrupts_is_a_503_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sent: list[Any] = []
    is_waiting = asyncio.Event()

    async def api(scope: Any, receive: Any, send: Any) -> None:
        is_waiting.set()
        await asyncio.Event().wait()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/orders"}
    task = asyncio.create_task(AnswerFailures(api)(scope, receive, send))
    await is_waiting.wait()
    task.cancel("timeout graceful shutdown exceeded")
    await task
    assert (sent[0]["status"], json.loads(sent[1]["body"])["reason"]) == (503, "stopping")
    assert [(record.levelname, record.exc_info) for record in caplog.records] == [("WARNING", None)]
