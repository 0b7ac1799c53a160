"""What becomes of one POST, and when it is asked again: always with the same Idempotency-Key."""

import socket
from collections.abc import Awaitable, Callable
from time import perf_counter

import pytest

from fanout.http_client import Client
from fanout.load import Answer, post
from tests.support.scripted_api import CLOSE, SILENCE, Reply, Request, scripted_api

CREATED = Reply(201, {"order_id": "o1"})
REFUSED = Reply(503, {"title": "busy"}, {"Retry-After": "1"})


class Script:
    """Gives the replies one after the other, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.keys: list[str] = []

    async def __call__(self, request: Request) -> Reply:
        self.keys.append(request.headers["idempotency-key"])
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]


async def asked(
    script: Callable[[Request], Awaitable[Reply]],
    patience: float = 5,
    patient: bool = True,
    not_yet: tuple[int, ...] = (),
) -> Answer:
    async with scripted_api(script) as url, Client(url, timeout=0.2) as client:
        return await post(client, "/orders", {"a": 1}, "token", patience, patient, not_yet)


def unused_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_the_first_answer_is_taken() -> None:
    script = Script(CREATED)
    assert await asked(script) == Answer("ok", {"order_id": "o1"})
    assert len(script.keys) == 1


@pytest.mark.parametrize("trouble", [SILENCE, CLOSE, Reply(500), Reply(503)], ids=str)
async def test_a_patient_customer_asks_again_with_the_same_key(trouble: Reply) -> None:
    script = Script(trouble, CREATED)
    answer = await asked(script)
    assert (answer.state, answer.unknown_answers) == ("ok", 1)
    assert len(script.keys) == 2 and len(set(script.keys)) == 1


@pytest.mark.parametrize("trouble", [SILENCE, CLOSE, Reply(500), Reply(503)], ids=str)
async def test_an_impatient_customer_does_not_know_what_became_of_it(trouble: Reply) -> None:
    script = Script(trouble, CREATED)
    assert (await asked(script, patient=False)).state == "unknown"
    assert len(script.keys) == 1


async def test_an_impatient_customer_takes_a_refusal_as_an_outcome() -> None:
    script = Script(REFUSED, CREATED)
    answer = await asked(script, patient=False)
    assert (answer.state, len(script.keys)) == ("refused", 1)


async def test_a_patient_customer_comes_back_after_the_time_it_was_told() -> None:
    script, start = Script(REFUSED, CREATED), perf_counter()
    assert (await asked(script)).state == "ok"
    assert perf_counter() - start >= 1
    assert len(script.keys) == 2 and len(set(script.keys)) == 1


async def test_what_is_refused_until_patience_ends_is_refused() -> None:
    assert (await asked(Script(REFUSED), patience=0.5)).state == "refused"


async def test_a_bad_request_is_not_asked_again() -> None:
    script = Script(Reply(422, {"title": "no such product"}))
    answer = await asked(script)
    assert (answer.state, answer.problem, len(script.keys)) == (
        "failed",
        "422 no such product",
        1,
    )


@pytest.mark.parametrize("patient", [True, False])
async def test_a_status_that_means_not_yet_is_asked_again(patient: bool) -> None:
    assert (await asked(Script(Reply(404), CREATED), patient=patient, not_yet=(404,))).state == "ok"


async def test_a_status_that_means_not_yet_is_no_failure_when_patience_ends() -> None:
    assert (await asked(Script(Reply(404)), patience=0.3, not_yet=(404,))).state == "waiting"


@pytest.mark.parametrize("trouble", [SILENCE, Reply(500)], ids=str)
async def test_what_may_have_arrived_ends_unknown(trouble: Reply) -> None:
    assert (await asked(Script(trouble), patience=0.3)).state == "unknown"


@pytest.mark.parametrize("patient", [True, False])
async def test_what_was_never_sent_ends_failed(patient: bool) -> None:
    async with Client(unused_url()) as client:
        answer = await post(client, "/orders", {}, "token", 0.2, patient)
    assert answer.state == "failed" and "not connected" in answer.problem


async def test_one_doubt_outlasts_later_refusals() -> None:
    assert (await asked(Script(SILENCE, REFUSED), patience=0.5)).state == "unknown"
