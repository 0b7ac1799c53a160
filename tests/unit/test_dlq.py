"""`fanout dlq` against a server that answers as told: what it asks, what it says, and with which exit code."""

import getpass
import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.http.tokens import Principal
from fanout import dead_letters_client
from fanout.cli import _app
from fanout.dead_letters_client import open_client
from fanout.errors import FanoutError, RefusedInput, Unreachable
from tests.support.principals import addresses_of
from tests.support.scripted_dead_letters import LETTER, ScriptedApi, serving


@pytest.fixture
def dead_letters_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedApi]:
    monkeypatch.setenv("COLUMNS", "200")
    dead_letters_api = ScriptedApi((200, LETTER))
    with serving(dead_letters_api) as url:
        addresses = addresses_of({"dead_letters": url})
        monkeypatch.setattr(dead_letters_client, "running", lambda: addresses)
        dead_letters_api.url = url
        yield dead_letters_api


def run(*arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(_app(["dlq"]), ["dlq", *arguments], input=stdin)


def test_ls_asks_for_what_was_said_and_shows_what_came_as_text_not_as_markup(
    dead_letters_api: ScriptedApi,
) -> None:
    dead_letters_api.answers = [(200, {"dead_letters": [LETTER], "next_after": None})]
    done = run("ls", "--consumer", "fraud", "--reason", "permanent", "--since", "2026-03-01T12:00:00Z")
    [(path, _)] = dead_letters_api.asked
    assert "consumer=fraud" in path and "reason=permanent" in path and "status=parked" in path
    assert "since=2026-03-01T12%3A00%3A00%2B00%3A00" in path
    assert "Order[red]Placed\N{REPLACEMENT CHARACTER}" in done.stdout and "orders 2/41" in done.stdout


def test_ls_goes_through_the_pages_up_to_its_limit(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [
        (200, {"dead_letters": [LETTER] * 200, "next_after": 200}),
        (200, {"dead_letters": [LETTER] * 50, "next_after": 250}),
    ]
    done = json.loads(run("ls", "--limit", "250", "--status", "all", "--json").stdout)
    assert (len(done["dead_letters"]), done["more"]) == (250, True)
    assert ["after=200" in path and "limit=50" in path for path, _ in dead_letters_api.asked] == [False, True]
    assert not any("status" in path for path, _ in dead_letters_api.asked)


def test_nothing_to_list_is_said(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(200, {"dead_letters": [], "next_after": None})]
    assert run("ls").stdout.strip() == "no parked dead letters"


def test_show_says_that_bytes_are_withheld_which_may_contain_a_secret(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(200, LETTER | {"value": "0000000001", "withheld": ["value"]})]
    said = run("show", "7").stdout
    assert "80 bytes, the first 5 are shown: the others may contain a secret:\n0000000001\n" in said


def test_a_correction_that_is_neither_json_nor_a_file_is_refused_without_its_secret() -> None:
    done = run("redrive", "7", "--why", "x", "--correct", '[{"card_token": "tok_visa"}]')
    assert done.exit_code != 0
    assert "***" in str(done.exception) and "tok_visa" not in str(done.exception)


def test_show_says_why_and_gives_the_bytes_when_there_is_no_event(
    dead_letters_api: ScriptedApi,
) -> None:
    said = run("show", "7").stdout
    for part in (
        "dead letter 7",
        "orders, partition 2, offset 41",
        "cannot be decoded: a value of 1",
        "00" * 32,
    ):
        assert part in said
    assert "\x1b" not in said and "ce_id: x\N{REPLACEMENT CHARACTER}" in said
    assert "truncated: headers" in said and "redriven (1) by ada: so" in said
    assert json.loads(run("show", "7", "--json").stdout) == LETTER


def test_redrive_of_ids_says_who_and_why_each_with_a_key_of_its_own(
    dead_letters_api: ScriptedApi,
) -> None:
    done = run("redrive", "7", "8", "--why", "fixed", "--who", "ada")
    assert dead_letters_api.asked == [(f"/dead-letters/{n}/redrive", {"why": "fixed"}) for n in (7, 8)]
    assert dead_letters_api.principals == [Principal("ada", "operator")] * 2
    assert len(set(dead_letters_api.keys)) == 2 and None not in dead_letters_api.keys
    assert done.stdout.splitlines() == ["redriven: dead letter 7", "redriven: dead letter 8"]


def test_redrive_by_filter_goes_on_until_nothing_is_left(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [
        (200, {"count": 500, "next_after": 600}),
        (200, {"count": 7, "next_after": None}),
    ]
    done = run("redrive", "--consumer", "fraud", "--why", "fixed")
    said = {"why": "fixed", "consumer": "fraud", "limit": 500}
    assert dead_letters_api.asked == [
        ("/dead-letters/redrive", said | {"after": after}) for after in (0, 600)
    ]
    assert dead_letters_api.principals == [Principal(getpass.getuser(), "operator")] * 2
    assert done.stdout.strip() == "redriven: 507 dead letters"


def test_everything_is_discarded_only_if_that_is_said(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(200, {"count": 1, "next_after": None})]
    assert run("discard", "--all", "--why", "a test").stdout.strip() == "discarded: 1 dead letter"
    assert dead_letters_api.asked[0][1]["all"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("7", "--consumer", "fraud"),
        ("7", "--all"),
        ("--all", "--topic", "orders"),
        ("7", "8", "--correct", "{}"),
        ("--all", "--correct", "{}"),
        ("7", "--correct", "{"),
        ("7", "--correct", "nowhere.json"),
        ("7", "--type", "OrderPlaced"),
    ],
)
def test_what_is_not_meant_is_refused_before_anything_is_asked(
    dead_letters_api: ScriptedApi, arguments: tuple[str, ...]
) -> None:
    done = run("redrive", *arguments, "--why", "so")
    assert isinstance(done.exception, FanoutError) and done.exception.exit_code == 2
    assert dead_letters_api.asked == []


def test_a_reason_is_required(dead_letters_api: ScriptedApi) -> None:
    assert (run("redrive", "7").exit_code, run("discard", "7").exit_code, dead_letters_api.asked) == (
        2,
        2,
        [],
    )


def test_a_correction_comes_from_the_line_a_file_or_standard_input(
    dead_letters_api: ScriptedApi, tmp_path: Any
) -> None:
    (tmp_path / "fixed.json").write_text('{"a": 1}')
    run("redrive", "7", "--why", "so", "--correct", '{"a": 1}')
    run("redrive", "7", "--why", "so", "--correct", str(tmp_path / "fixed.json"))
    run("redrive", "7", "--why", "so", "--correct", "-", "--type", "OrderPlaced", stdin='{"a": 1}')
    assert [body["correction"] for _, body in dead_letters_api.asked] == [{"a": 1}] * 3
    assert dead_letters_api.asked[2][1]["type"] == "OrderPlaced"


@pytest.mark.parametrize(("status", "code"), [(404, 1), (409, 1), (422, 2)])
def test_a_refusal_is_the_services_own_sentence_and_an_exit_code(
    dead_letters_api: ScriptedApi, status: int, code: int
) -> None:
    dead_letters_api.answers = [(status, {"detail": "There is no dead letter 7."})]
    for action in (("redrive", "7", "--why", "so"), ("discard", "7", "--why", "so")):
        done = run(*action)
        assert (done.exit_code, "There is no dead letter 7." in done.stderr) == (code, True)
    shown = run("show", "7")
    assert isinstance(shown.exception, FanoutError)
    assert (shown.exception.exit_code, str(shown.exception)) == (code, "There is no dead letter 7.")


def test_one_that_is_refused_does_not_keep_the_others(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(409, {"detail": "Dead letter 7 cannot be redriven."}), (200, LETTER)]
    done = run("redrive", "7", "8", "--why", "so")
    assert (done.exit_code, done.stdout.strip()) == (1, "redriven: dead letter 8")


def test_a_busy_service_is_asked_again_with_the_same_key(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(503, {"detail": "later"}), (200, LETTER)]
    with open_client() as client:
        assert client.post("/dead-letters/7/redrive", {}) == LETTER
    assert len(dead_letters_api.keys) == 2 and len(set(dead_letters_api.keys)) == 1


def test_a_service_that_is_down_is_one_sentence() -> None:
    with (
        open_client(addresses=addresses_of({"dead_letters": "http://127.0.0.1:9"}), patience=0) as client,
        pytest.raises(Unreachable, match="fanout status"),
    ):
        client.get("/dead-letters", {})


def test_a_refused_input_is_a_wrong_use() -> None:
    assert (RefusedInput.exit_code, Unreachable.exit_code) == (2, 2)
