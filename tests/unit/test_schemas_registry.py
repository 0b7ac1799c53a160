"""The registry's client against a small HTTP server: what it asks, keeps, and makes of every kind of answer."""

import asyncio
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from chassis.errors import InfrastructureFailure, PermanentFailure
from chassis.events import registry as client
from chassis.events.registry import Registry, RegistryUnavailable, SchemaNotRegistered, UnknownSchemaId
from chassis.events.shared_requests import SharedRequests
from chassis.events.writer_schema import UnsafeSchema
from fanout.contracts.registry import open_registry
from fanout.errors import Unreachable
from schemas import OrderPlaced, OrderShipped
from schemas.files import parsed_schema, versions_of

TEXT = versions_of(OrderShipped)[-1][1]
Answer = tuple[int, bytes]


class Server(ThreadingHTTPServer):
    """Answers everything with `answer` and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Replies)
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer: Callable[[str], Answer] = lambda method: (500, b"")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/apis/ccompat/v7"

    def says(self, status: int, body: Any) -> None:
        self.answer = lambda _: (status, body if isinstance(body, bytes) else json.dumps(body).encode())

    def finds(self, answers: dict[str, Any]) -> None:
        """Answers each method with its body."""
        self.answer = lambda method: (200, json.dumps(answers[method]).encode())


class Replies(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, body))
        status, answer = self.server.answer(self.command)
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


async def test_a_schema_is_fetched_once_and_kept_through_an_outage(server: Server) -> None:
    server.says(200, {"schema": TEXT})
    registry = Registry(server.url)
    assert await registry.schema_by_id(7) is parsed_schema(OrderShipped)
    server.says(503, {})
    assert await registry.schema_by_id(7) is parsed_schema(OrderShipped)
    assert server.asked == [("GET", "/apis/ccompat/v7/schemas/ids/7", b"")]


async def test_the_id_of_a_version_is_looked_up_once_and_never_registered(server: Server) -> None:
    server.says(200, {"subject": "shipments-fanout.OrderShipped", "id": 12, "version": 1, "schema": TEXT})
    registry = Registry(server.url)
    assert [await registry.schema_id(OrderShipped, 1) for _ in range(2)] == [12, 12]
    [(method, path, body)] = server.asked
    assert (method, path) == ("POST", "/apis/ccompat/v7/subjects/shipments-fanout.OrderShipped")
    assert json.loads(body) == {"schema": TEXT}


@pytest.mark.parametrize("code", [40401, 40402, 40403])
async def test_what_the_registry_does_not_have_is_unknown_for_readers_and_a_wait_for_writers(
    server: Server, code: int
) -> None:
    server.says(404, {"error_code": code, "message": "not found"})
    with pytest.raises(UnknownSchemaId, match="no schema has the id 99") as unknown:
        await Registry(server.url).schema_by_id(99)
    with pytest.raises(
        SchemaNotRegistered, match=r"orders-fanout\.OrderPlaced v1 is not registered"
    ) as absent:
        await Registry(server.url).schema_id(OrderPlaced, 1)
    assert isinstance(unknown.value, PermanentFailure)
    assert isinstance(absent.value, InfrastructureFailure)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"error_code": 50001}),
        (503, b"starting"),
        (429, {"error_code": 42901}),
        (401, {"error_code": 40101}),
        (301, b""),
        (404, b"<html>no such page</html>"),
        (404, {"detail": "no such route"}),
        (404, {"error_code": 404}),
        (404, []),
        (200, b"<html>welcome</html>"),
        (200, {"unexpected": 1}),
        (200, []),
        (200, b"\xff"),
    ],
)
async def test_any_other_answer_is_an_outage_and_blames_no_message(
    server: Server, status: int, body: Any
) -> None:
    server.says(status, body)
    registry = Registry(server.url)
    with pytest.raises(RegistryUnavailable, match="/schemas/ids/7") as outage:
        await registry.schema_by_id(7)
    with pytest.raises(RegistryUnavailable):
        await registry.schema_id(OrderShipped, 1)
    assert isinstance(outage.value, InfrastructureFailure)
    server.says(200, {"schema": TEXT, "id": 3})
    assert await registry.schema_by_id(7) is parsed_schema(OrderShipped)
    assert await registry.schema_id(OrderShipped, 1) == 3


@pytest.mark.parametrize("text", ["{}", "nonsense", json.dumps({"type": "object"}), '"string"'])
async def test_a_schema_that_no_event_can_have_is_refused(server: Server, text: str) -> None:
    server.says(200, {"schema": text})
    with pytest.raises(UnsafeSchema):
        await Registry(server.url).schema_by_id(7)


async def test_a_registry_that_does_not_answer_in_time_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", 0.05)
    silent = ThreadingHTTPServer(("127.0.0.1", 0), Replies)
    with silent, pytest.raises(RegistryUnavailable, match="ReadTimeout"):
        async with asyncio.timeout(10):
            await Registry(f"http://127.0.0.1:{silent.server_port}").schema_by_id(7)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://registry.invalid", "no url at all"])
async def test_a_registry_that_cannot_be_reached_is_unavailable(url: str) -> None:
    with pytest.raises(RegistryUnavailable):
        await Registry(url).schema_by_id(7)


async def test_a_proxy_of_the_environment_is_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server.says(200, {"schema": TEXT})
    assert await Registry(server.url).schema_by_id(7) is parsed_schema(OrderShipped)


async def test_a_version_that_this_release_does_not_have_is_looked_up_by_its_number(server: Server) -> None:
    server.finds({"POST": {"id": 12, "version": 1}, "GET": {"id": 31, "version": 2, "schema": TEXT}})
    registry = Registry(server.url)
    assert [await registry.schema_id(OrderShipped, 2) for _ in range(2)] == [31, 31]
    subject = "/apis/ccompat/v7/subjects/shipments-fanout.OrderShipped"
    assert [(method, path) for method, path, _ in server.asked] == [
        ("POST", subject),
        ("GET", f"{subject}/versions/2"),
    ]


async def test_numbers_are_not_relied_on_if_a_known_version_has_another_one(server: Server) -> None:
    server.finds({"POST": {"id": 12, "version": 3}, "GET": {"id": 31, "version": 2, "schema": TEXT}})
    with pytest.raises(SchemaNotRegistered, match=r"OrderShipped v1 has the number 3"):
        await Registry(server.url).schema_id(OrderShipped, 2)
    assert [method for method, _, _ in server.asked] == ["POST"]


async def test_a_number_with_a_schema_of_another_name_is_not_framed_with(server: Server) -> None:
    server.says(200, {"id": 31, "version": 1, "schema": versions_of(OrderPlaced)[-1][1]})
    with pytest.raises(SchemaNotRegistered, match=r"OrderGifted v1 is a schema of 'fanout\.OrderPlaced'"):
        await Registry(server.url).schema_id_by_number("orders-fanout.OrderGifted", 1)


async def test_a_version_of_a_newer_release_waits_until_it_is_registered(server: Server) -> None:
    registry = Registry(server.url)
    server.says(404, {"error_code": 40402})
    with pytest.raises(SchemaNotRegistered, match=r"orders-fanout\.OrderGifted v1 is not registered"):
        await registry.schema_id_by_number("orders-fanout.OrderGifted", 1)
    gifted = TEXT.replace("OrderShipped", "OrderGifted")
    server.says(200, {"id": 31, "version": 1, "schema": gifted})
    assert await registry.schema_id_by_number("orders-fanout.OrderGifted", 1) == 31


async def test_the_subjects_of_an_id_are_asked_for_once_and_deleted_ones_count(server: Server) -> None:
    server.says(200, ["orders-fanout.OrderPlaced", "other-fanout.OrderPlaced"])
    registry = Registry(server.url)
    assert await registry.is_registered(7, "orders-fanout.OrderPlaced")
    server.says(503, {})
    assert await registry.is_registered(7, "orders-fanout.OrderPlaced")
    assert await registry.is_registered(7, "other-fanout.OrderPlaced")
    assert [path for _, path, _ in server.asked] == ["/apis/ccompat/v7/schemas/ids/7/subjects?deleted=true"]


async def test_that_an_id_is_foreign_is_not_kept(server: Server) -> None:
    server.says(200, ["other-fanout.OrderPlaced"])
    registry = Registry(server.url)
    assert not await registry.is_registered(7, "orders-fanout.OrderPlaced")
    server.says(200, ["other-fanout.OrderPlaced", "orders-fanout.OrderPlaced"])
    assert await registry.is_registered(7, "orders-fanout.OrderPlaced")
    assert len(server.asked) == 2


@pytest.mark.parametrize("version", [None, 0, -1])
async def test_a_row_without_a_number_is_not_looked_up(server: Server, version: int | None) -> None:
    """-1 would be the latest version, and another answer than "not found" would look like an outage."""
    registry = Registry(server.url)
    for asked in (
        registry.schema_id(OrderShipped, version),
        registry.schema_id_by_number("t-fanout.T", version),
    ):
        with pytest.raises(SchemaNotRegistered, match="can have no version"):
            await asked
    assert server.asked == []


@pytest.mark.parametrize("answer", [{}, {"subjects": []}, [1], ["a", None], "orders"])
async def test_subjects_that_are_no_list_of_names_are_an_outage(server: Server, answer: Any) -> None:
    server.says(200, answer)
    with pytest.raises(RegistryUnavailable):
        await Registry(server.url).is_registered(7, "orders-fanout.OrderPlaced")


async def test_an_id_that_the_registry_does_not_have_has_no_subjects(server: Server) -> None:
    server.says(404, {"error_code": 40403})
    with pytest.raises(UnknownSchemaId, match="no schema has the id 7"):
        await Registry(server.url).is_registered(7, "orders-fanout.OrderPlaced")


async def test_questions_at_the_same_time_share_a_request_that_began_after_each_of_them() -> None:
    """An answer from before a question could say that a schema is unknown, which was registered in between."""
    registered: list[str] = []
    asked: list[list[str]] = []
    began, answer_now = asyncio.Event(), asyncio.Event()

    async def ask(schema_id: int) -> list[str]:
        asked.append(list(registered))
        began.set()
        await answer_now.wait()
        return asked[-1]

    requests = SharedRequests(ask)
    early = asyncio.create_task(requests.answer(7))
    await began.wait()
    registered.append("orders-fanout.OrderPlaced")
    later = [asyncio.create_task(requests.answer(7)) for _ in range(5)]
    asyncio.get_running_loop().call_soon(answer_now.set)  # after the later ones have asked
    assert await early == []
    assert await asyncio.gather(*later) == [registered] * 5
    assert len(asked) == 2


async def test_each_question_of_a_shared_request_that_fails_gets_the_error() -> None:
    async def ask(schema_id: int) -> list[str]:
        raise UnknownSchemaId(f"no schema has the id {schema_id}")

    requests = SharedRequests(ask)
    answers = await asyncio.gather(*(requests.answer(9) for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no schema has the id 9"] * 3


def test_a_registry_whose_database_is_down_is_one_that_does_not_answer(server: Server) -> None:
    server.says(500, {"error_code": 500, "message": "PSQLException: FATAL: terminating connection"})
    with (
        pytest.raises(Unreachable, match="the schema registry does not answer"),
        open_registry(server.url) as asked,
    ):
        asked.get_subjects()
