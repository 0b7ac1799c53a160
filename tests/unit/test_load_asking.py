"""An order is asked for until there is an answer, always with the same Idempotency-Key."""

import httpx
import pytest

from fanout.load.asking import Answer, ask

Reply = httpx.Response | Exception


class Api:
    """Gives the replies one after the other, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self._replies = list(replies)
        self.keys: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers["idempotency-key"])
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply


async def asked(api: Api, patience: float = 5, not_yet: tuple[int, ...] = ()) -> Answer:
    async with httpx.AsyncClient(transport=httpx.MockTransport(api)) as client:
        return await ask(client, "http://api/orders", {"a": 1}, patience, not_yet)


def created() -> httpx.Response:
    return httpx.Response(201, json={"order_id": "o1"})


async def test_the_first_answer_is_taken() -> None:
    api = Api(created())
    assert await asked(api) == Answer("ok", {"order_id": "o1"})
    assert len(api.keys) == 1


@pytest.mark.parametrize(
    "trouble", [httpx.ReadTimeout("slow"), httpx.ConnectError("down"), httpx.Response(503)]
)
async def test_trouble_is_asked_again_with_the_same_key(trouble: Reply) -> None:
    api = Api(trouble, created())
    assert (await asked(api)).state == "ok"
    assert len(api.keys) == 2 and len(set(api.keys)) == 1


async def test_a_refusal_is_not_asked_again() -> None:
    api = Api(httpx.Response(422, text="no such product"))
    answer = await asked(api)
    assert (answer.state, answer.problem, len(api.keys)) == ("failed", "422: no such product", 1)


async def test_a_status_that_means_not_yet_is_asked_again() -> None:
    assert (await asked(Api(httpx.Response(404), created()), not_yet=(404,))).state == "ok"


@pytest.mark.parametrize("trouble", [httpx.ReadTimeout("slow"), httpx.Response(500)])
async def test_what_may_have_arrived_ends_unknown(trouble: Reply) -> None:
    assert (await asked(Api(trouble), patience=0.2)).state == "unknown"


async def test_what_never_arrived_ends_failed() -> None:
    assert (await asked(Api(httpx.ConnectError("down")), patience=0.2)).state == "failed"


async def test_one_doubt_outlasts_later_refusals() -> None:
    api = Api(httpx.ReadTimeout("slow"), httpx.ConnectError("down"))
    assert (await asked(api, patience=0.5)).state == "unknown"
