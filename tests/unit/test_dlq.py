"""`fanout dlq` against a server that answers as told: what it asks, what it says, and with which exit code."""

import getpass
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from chassis.consumer.crash_loop import WorkerCrashed
from chassis.events.avro import encode, frame
from chassis.http.tokens import Principal
from fanout import dead_letters_client
from fanout.cli import _app
from fanout.dead_letter_fields import beginning, fields_of
from fanout.dead_letters_client import open_client
from fanout.errors import BadUsage, FanoutError, RefusedInput, Unreachable
from schemas import ReservedLine, StockReserved
from schemas.files import parsed_schema
from tests.support.principals import addresses_of
from tests.support.scripted_dead_letters import LETTER, ScriptedApi, serving


@pytest.fixture
def dead_letters_api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedApi]:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FANOUT_HOME", str(tmp_path / "home"))
    dead_letters_api = ScriptedApi((200, LETTER))
    with serving(dead_letters_api) as url:
        addresses = addresses_of({"dead_letters": url})
        monkeypatch.setattr(dead_letters_client, "running", lambda: addresses)
        monkeypatch.setattr(
            "fanout.commands.dlq.running", lambda: replace(addresses, registry_url="http://127.0.0.1:9")
        )
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


def test_ls_has_two_lines_for_each_dead_letter_that_fit_80_columns(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usual = LETTER | {
        "type": "StockReserved",
        "topic": "inventory",
        "error_message": "not StockReserved: EOFError: Expected 8 bytes, read 2",
    }
    longest = LETTER | {
        "consumer": "notifications",
        "type": "PaymentProcessedAndMore",
        "topic": "inventory",
        "kafka_offset": 12345,
        "failure": "transient",
        "attempts": 5,
        "error_message": "word " * 60,
    }
    dead_letters_api.answers = [(200, {"dead_letters": [usual, longest], "next_after": None})]
    heading, *lines = run("ls").stdout.splitlines()
    assert len(lines) == 4 and max(map(len, [heading, *lines])) <= 80
    assert lines[0].split()[-3:] == ["2026-03-01", "12:00", "1"]
    assert lines[1].strip() == "Undecodable: not StockReserved: EOFError: Expected 8 bytes, read 2"
    assert "PaymentProcessed…" in lines[2] and lines[2].split()[-1] == "5"
    assert lines[3].strip().startswith("transient: Undecodable: word word") and lines[3].endswith("…")


RESERVED = StockReserved(
    order_id="o-1",
    reservation_version=3,
    lines=(ReservedLine(product_id="mug", quantity=2),),
    occurred_at=1_772_366_400_000,
)
BYTES = frame(11, encode(RESERVED))
CUT_OFF = LETTER | {
    "topic": "inventory",
    "type": "StockReserved",
    "value": BYTES[:12].hex(),
    "value_bytes": 12,
    "withheld": [],
}
WHOLE = LETTER | {
    "topic": "inventory",
    "type": "StockReserved",
    "event": RESERVED.to_record(),
    "decode_error": None,
}


def test_show_gives_the_fields_of_an_event_and_those_that_are_left_of_one(
    dead_letters_api: ScriptedApi,
) -> None:
    dead_letters_api.answers = [(200, CUT_OFF), (200, WHOLE)]
    cut_off, whole = run("show", "7").stdout, run("show", "7").stdout
    assert (
        "  order_id             o-1\n  reservation_version  3\n  lines                (not in the bytes)"
        in cut_off
    )
    assert "  lines                product_id mug, quantity 2\n" in whole
    assert "occurred_at          1772366400000 (2026-03-01 12:00:00 UTC)" in whole


def test_an_event_that_is_cut_off_anywhere_keeps_the_fields_before() -> None:
    whole = RESERVED.to_record()
    for length in range(len(BYTES) + 1):
        fields = beginning(BYTES[:length], parsed_schema(StockReserved))
        assert list(fields.items()) == list(whole.items())[: len(fields)]
        assert (len(fields) == len(whole)) == (length == len(BYTES))


def test_bytes_that_are_no_event_have_no_fields_but_the_key_is_known() -> None:
    for value in ("", "00", "ff" * 4, "000000000b" + "ff" * 60):
        assert beginning(bytes.fromhex(value), parsed_schema(StockReserved)) == {}
    fields = fields_of(CUT_OFF | {"value": None}, StockReserved, "http://127.0.0.1:9")
    assert fields == {"order_id": "o-1", "reservation_version": None, "lines": None, "occurred_at": None}


def test_what_cannot_be_decoded_is_not_redriven_unchanged_without_a_word(
    dead_letters_api: ScriptedApi,
) -> None:
    page = {"dead_letters": [WHOLE, CUT_OFF], "next_after": None}
    for arguments, answers in (
        (("7",), [CUT_OFF]),
        (("6", "7"), [WHOLE, CUT_OFF]),
        (("--all",), [page]),
        (("--consumer", "fraud"), [{"dead_letters": [WHOLE], "next_after": 200}, page]),
    ):
        dead_letters_api.answers, dead_letters_api.asked = [(200, answer) for answer in answers], []
        done = run("redrive", *arguments, "--why", "so")
        assert isinstance(done.exception, FanoutError) and done.exception.exit_code == 2
        assert "fanout dlq edit 7" in str(done.exception) and "--yes" in str(done.exception)
        assert [body for _, body in dead_letters_api.asked] == [None] * len(answers)


@pytest.mark.parametrize(("answer", "posts"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_a_person_is_asked_about_it(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, answer: str, posts: int
) -> None:
    monkeypatch.setattr("fanout.commands.dlq.sys", SimpleNamespace(stdin=Terminal(), stderr=sys.stderr))
    dead_letters_api.answers = [(200, CUT_OFF)]
    run("redrive", "7", "--why", "so", stdin=answer)
    assert len([body for _, body in dead_letters_api.asked if body]) == posts


@pytest.mark.parametrize(
    "letter",
    [WHOLE, CUT_OFF | {"error_type": WorkerCrashed.__name__}],
    ids=["decodable", "crashed its worker"],
)
def test_what_is_only_said_to_be_undecodable_is_redriven_at_once(
    dead_letters_api: ScriptedApi, letter: dict[str, Any]
) -> None:
    dead_letters_api.answers = [(200, letter)]
    assert run("redrive", "7", "--why", "so").exit_code == 0


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.fixture
def kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is edited."""
    monkeypatch.delenv("VISUAL", raising=False)
    edits = tmp_path / "home" / "edits"
    edits.mkdir(parents=True)
    return edits


def with_editor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Sets an editor, with an option, that changes `text` by Python code."""
    file = tmp_path / "editor.py"
    file.write_text(
        f"import sys\nname = sys.argv[2]\ntext = open(name).read()\n{code}\nopen(name, 'w').write(text)\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {file} --wait")


REPAIR = (
    "import json; text = json.dumps(json.loads(text) | "
    "{'lines': [{'product_id': 'mug', 'quantity': 2}], 'occurred_at': 1772366400000})"
)


def test_edit_opens_the_fields_that_are_left_and_sends_what_came_of_them(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    with_editor(monkeypatch, tmp_path, REPAIR)
    dead_letters_api.answers = [(200, CUT_OFF)]
    done = run("edit", "7", "--why", "truncated")
    assert (done.exit_code, done.stdout) == (0, "redriven as edited: dead letter 7\n"), done.exception
    sent = {"why": "truncated", "correction": json.loads(json.dumps(RESERVED.to_record()))}
    assert dead_letters_api.asked[1:] == [("/dead-letters/7/redrive", sent)]
    assert not list(kept_in.iterdir())


def test_edit_of_a_dead_letter_without_a_type_needs_one(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    with_editor(monkeypatch, tmp_path, REPAIR)
    dead_letters_api.answers = [(200, CUT_OFF | {"type": None})]
    refused = run("edit", "7", "--why", "x").exception
    assert isinstance(refused, BadUsage) and "StockRejected, StockReleased, StockReserved" in str(refused)
    assert run("edit", "7", "--why", "x", "--type", "StockReserved").exit_code == 0
    assert dead_letters_api.asked[-1][1]["type"] == "StockReserved"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [("text = '{'", "not JSON"), ("text = '[]'", "not a JSON object"), ("sys.exit(7)", "exit code 7")],
)
def test_what_is_not_accepted_is_kept_and_named(
    dead_letters_api: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kept_in: Path,
    code: str,
    sentence: str,
) -> None:
    with_editor(monkeypatch, tmp_path, code)
    dead_letters_api.answers = [(200, CUT_OFF)]
    refused = run("edit", "7", "--why", "x").exception
    assert isinstance(refused, FanoutError) and refused.exit_code == 2 and sentence in str(refused)
    assert len(dead_letters_api.asked) == 1
    kept = [str(file) for file in kept_in.glob("*/*")]
    assert all(file in str(refused) for file in kept) and bool(kept) == ("JSON" in sentence)


@pytest.mark.parametrize(("status", "code"), [(422, 2), (409, 1)])
def test_what_the_service_refuses_is_kept_and_named(
    dead_letters_api: ScriptedApi,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kept_in: Path,
    status: int,
    code: int,
) -> None:
    with_editor(monkeypatch, tmp_path, REPAIR)
    dead_letters_api.answers = [(200, CUT_OFF), (status, {"detail": "lines: too few"})]
    refused = run("edit", "7", "--why", "x").exception
    [kept] = kept_in.glob("*/dead-letter-7.json")
    assert isinstance(refused, FanoutError) and refused.exit_code == code
    assert "lines: too few" in str(refused) and str(kept) in str(refused)
    assert (json.loads(kept.read_text())["lines"], kept.parent.stat().st_mode & 0o77) == (
        [{"product_id": "mug", "quantity": 2}],
        0,
    )


def test_a_person_edits_again_what_was_refused_and_goes_on_from_there(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    monkeypatch.setattr("fanout.editing.sys", SimpleNamespace(stdin=Terminal()))
    with_editor(monkeypatch, tmp_path, "text = text.replace('null', '1') if 'null' in text else text + ' '")
    dead_letters_api.answers = [(200, CUT_OFF), (422, {"detail": "lines: no list"}), (200, CUT_OFF)]
    done = run("edit", "7", "--why", "x", stdin="y\n")
    assert (done.exit_code, len(dead_letters_api.asked)) == (0, 3), done.exception
    assert "not accepted: lines: no list" in done.stderr
    assert not list(kept_in.iterdir())


def test_nothing_is_sent_when_nothing_was_changed(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    with_editor(monkeypatch, tmp_path, "")
    dead_letters_api.answers = [(200, WHOLE)]
    assert str(run("edit", "7", "--why", "x").exception) == "nothing was changed, so nothing was sent"
    assert len(dead_letters_api.asked) == 1 and not list(kept_in.iterdir())


def test_an_editor_that_is_not_there_is_one_sentence(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, kept_in: Path
) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor")
    dead_letters_api.answers = [(200, WHOLE)]
    said = str(run("edit", "7", "--why", "x").exception)
    assert said == "the editor no-such-editor cannot be run (No such file or directory): set EDITOR"


def test_the_next_edit_goes_on_from_what_was_refused(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    with_editor(monkeypatch, tmp_path, "text = text.replace('null', '1')")
    dead_letters_api.answers = [(200, CUT_OFF), (422, {"detail": "lines: no list"}), (200, CUT_OFF)]
    refused = str(run("edit", "7", "--why", "x").exception)
    [kept] = kept_in.glob("*/dead-letter-7.json")
    assert f"fanout dlq redrive 7 --correct {kept} takes it" in refused
    with_editor(monkeypatch, tmp_path, "text = text.replace('\"lines\": 1', '\"lines\": 2')")
    done = run("edit", "7", "--why", "x")
    assert done.exit_code == 0 and str(kept) in done.stderr.replace("\n", "")
    assert [body["correction"]["lines"] for _, body in dead_letters_api.asked if body] == [1, 2]
    assert not list(kept_in.iterdir())


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("redrive", "7", "--correct", "{}"), LETTER),
        (("redrive", "7", "--yes"), LETTER),
        (("discard", "7"), LETTER),
        (("redrive", "--all", "--yes"), {"count": 1, "next_after": None, "status": "redriven"}),
        (("discard", "--topic", "orders"), {"count": 1, "next_after": None, "status": "discarded"}),
    ],
)
def test_what_was_kept_is_deleted_when_its_dead_letter_is_decided(
    dead_letters_api: ScriptedApi, kept_in: Path, arguments: tuple[str, ...], answer: dict[str, Any]
) -> None:
    (kept_in / "7").mkdir()
    (kept_in / "7" / "dead-letter-7.json").write_text("{}")
    dead_letters_api.answers = [(200, answer)]
    done = run(*arguments, "--why", "x")
    assert done.exit_code == 0, done.exception
    assert not list(kept_in.iterdir())


@pytest.mark.parametrize("answer", [(200, LETTER), (404, {"detail": "There is no dead letter 7."})])
def test_what_was_kept_for_one_that_is_still_parked_stays(
    dead_letters_api: ScriptedApi, kept_in: Path, answer: tuple[int, Any]
) -> None:
    (kept_in / "7").mkdir()
    dead_letters_api.answers = [(200, {"count": 1, "next_after": None}), answer]
    assert run("discard", "--consumer", "fraud", "--why", "x").exit_code == 0
    assert [path for path, _ in dead_letters_api.asked] == ["/dead-letters/discard", "/dead-letters/7"]
    assert (kept_in / "7").exists()


def test_what_is_redriven_once_more_is_said_to_be_redriven_again(
    dead_letters_api: ScriptedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kept_in: Path
) -> None:
    dead_letters_api.answers = [(200, WHOLE | {"redrive": 2})]
    assert run("redrive", "7", "--why", "x").stdout == "redriven again: dead letter 7\n"
    with_editor(monkeypatch, tmp_path, "text = text.replace('2', '3')")
    assert run("edit", "7", "--why", "x").stdout == "redriven again as edited: dead letter 7\n"
    assert run("discard", "7", "--why", "x").stdout == "discarded: dead letter 7\n"


def test_nothing_to_list_is_said(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(200, {"dead_letters": [], "next_after": None})]
    assert run("ls").stdout.strip() == "no parked dead letters"


def test_show_says_that_bytes_are_withheld_which_may_contain_a_secret(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(200, LETTER | {"value": "0000000001", "withheld": ["value"]})]
    said = run("show", "7").stdout
    assert "80 bytes, the first 5 are shown: the others may contain a secret:\n  0000000001\n" in said


def test_a_correction_that_is_neither_json_nor_a_file_is_refused_without_its_secret() -> None:
    done = run("redrive", "7", "--why", "x", "--correct", '[{"card_token": "tok_visa"}]')
    assert done.exit_code != 0
    assert "***" in str(done.exception) and "tok_visa" not in str(done.exception)


def test_show_says_why_and_gives_the_bytes_when_there_is_no_event(
    dead_letters_api: ScriptedApi,
) -> None:
    said = run("show", "7").stdout
    assert said.startswith("Undecodable: too short\n")
    for part in (
        "dead letter 7 waits for your decision",
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
    done = run("redrive", "7", "8", "--why", "fixed", "--who", "ada", "--yes")
    assert dead_letters_api.asked == [(f"/dead-letters/{n}/redrive", {"why": "fixed"}) for n in (7, 8)]
    assert dead_letters_api.principals == [Principal("ada", "operator")] * 2
    assert len(set(dead_letters_api.keys)) == 2 and None not in dead_letters_api.keys
    assert done.stdout.splitlines() == ["redriven: dead letter 7", "redriven: dead letter 8"]


def test_redrive_by_filter_goes_on_until_nothing_is_left(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [
        (200, {"count": 500, "next_after": 600}),
        (200, {"count": 7, "next_after": None}),
    ]
    done = run("redrive", "--consumer", "fraud", "--why", "fixed", "--yes")
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
    for action in (("redrive", "7", "--why", "so", "--yes"), ("discard", "7", "--why", "so")):
        done = run(*action)
        assert (done.exit_code, "There is no dead letter 7." in done.stderr) == (code, True)
    shown = run("show", "7")
    assert isinstance(shown.exception, FanoutError)
    assert (shown.exception.exit_code, str(shown.exception)) == (code, "There is no dead letter 7.")


def test_one_that_is_refused_does_not_keep_the_others(dead_letters_api: ScriptedApi) -> None:
    dead_letters_api.answers = [(409, {"detail": "Dead letter 7 cannot be redriven."}), (200, LETTER)]
    done = run("redrive", "7", "8", "--why", "so", "--yes")
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


@pytest.mark.parametrize("kind", ["application/problem+json", "text/plain"])
def test_a_service_that_keeps_answering_that_it_cannot_is_quoted(
    dead_letters_api: ScriptedApi, kind: str
) -> None:
    dead_letters_api.answers = [(503, {"detail": "The database is locked. Try later."})]
    dead_letters_api.error_kind = kind
    with (
        open_client(patience=0) as client,
        pytest.raises(FanoutError, match=r"answers 503: .*The database is locked") as raised,
    ):
        client.get("/dead-letters", {})
    assert raised.value.exit_code == 2 and "does not answer" not in str(raised.value)


def test_a_refused_input_is_a_wrong_use() -> None:
    assert (RefusedInput.exit_code, Unreachable.exit_code) == (2, 2)
