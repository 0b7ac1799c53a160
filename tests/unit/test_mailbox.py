"""What `fanout mailbox` makes of a Maildir."""

import json
from mailbox import Maildir
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fanout.cli import _app
from fanout.commands.mailbox import arrivals, set_delay
from fanout.errors import NotRunning
from fanout.local.smtp_server import delay_seconds
from fanout.local.stack_directory import StackDirectory


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackDirectory:
    monkeypatch.setenv("FANOUT_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return StackDirectory(tmp_path)


def keep(
    home: StackDirectory, message_id: str, order_id: str = "o-1", customer: str = "c-1", subject: str = "Hi"
) -> None:
    Maildir(home.mail).add(
        f"To: {customer}@customers.example\nSubject: {subject}\nX-Order-ID: {order_id}\n"
        f"Message-ID:\n <{message_id}@x>\n\nbody".encode()
    )


def shown(*options: str) -> str:
    done = CliRunner().invoke(_app(["mailbox", "load"]), ["mailbox", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_mails_are_listed_oldest_first_and_a_second_one_of_an_id_is_a_repeat(home: StackDirectory) -> None:
    for message_id in ("b", "a", "b", "c"):
        keep(home, message_id)
    found = arrivals(home.mail)
    assert [(mail.message_id, mail.is_repeat) for mail in found] == [
        ("<b@x>", False),
        ("<a@x>", False),
        ("<b@x>", True),
        ("<c@x>", False),
    ]
    assert shown().splitlines()[-1] == "4 messages, 1 repeated"
    assert shown().count("(repeat)") == 1


def test_files_of_one_second_keep_the_order_of_their_arrival(home: StackDirectory) -> None:
    folder = home.mail / "new"
    folder.mkdir(parents=True)
    for name in ("5.M20P7Q10.h", "5.M9P7Q9.h", "4.M999999P7Q8.h", "5.M20P7Q2.h"):
        (folder / name).write_text(f"Message-ID: {name}\n\n")
    assert [mail.message_id for mail in arrivals(home.mail)] == [
        "4.M999999P7Q8.h",
        "5.M9P7Q9.h",
        "5.M20P7Q2.h",
        "5.M20P7Q10.h",
    ]


def test_mails_are_found_by_order_and_by_customer(home: StackDirectory) -> None:
    keep(home, "a", order_id="o-1", customer="c-1")
    keep(home, "b", order_id="o-2", customer="c-2")
    assert [mail["message_id"] for mail in json.loads(shown("--order", "o-2", "--json"))["messages"]] == [
        "<b@x>"
    ]
    for customer in ("c-1", "c-1@customers.example"):
        assert json.loads(shown("--to", customer, "--json"))["count"] == 1
    assert shown("--to", "c").strip() == "no such message has arrived"


def test_the_limit_keeps_the_newest_and_counts_all(home: StackDirectory) -> None:
    for message_id in ("a", "b", "b"):
        keep(home, message_id)
    answer = json.loads(shown("--limit", "1", "--json"))
    assert (answer["messages"][0]["message_id"], answer["count"], answer["repeated"]) == ("<b@x>", 3, 1)
    assert shown("--limit", "1").splitlines()[-1] == "3 messages, 1 repeated, the newest 1 are shown"


def test_a_line_fits_80_columns_and_has_its_ids_when_asked(
    home: StackDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for _ in range(2):
        keep(home, "a", order_id="o-7", customer="customer-001", subject="Your order was cancelled")
    assert max(map(len, shown().splitlines())) <= 80
    assert "customer-001  " in shown() and "@customers" not in shown()
    assert shown("--ids").count("o-7") == shown("--ids").count("<a@x>") == 2


def test_an_empty_mailbox_says_so(home: StackDirectory) -> None:
    assert shown().strip() == "no message has arrived"
    assert json.loads(shown("--json")) == {"messages": [], "count": 0, "repeated": 0}


def test_a_subject_is_shown_as_it_was_meant(home: StackDirectory) -> None:
    keep(home, "a", subject="=?utf-8?q?Caf=C3=A9?= [red]")
    assert "Café [red]" in shown()


def test_a_delay_is_kept_in_the_home_until_it_is_ended(home: StackDirectory) -> None:
    shown("--delay", "750ms")
    assert delay_seconds(home.mail_delay) == 0.75
    shown("--delay", "0")
    assert delay_seconds(home.mail_delay) == 0
    assert not home.mail_delay.exists()


def test_a_spoilt_delay_file_is_no_delay(tmp_path: Path) -> None:
    (tmp_path / "mail-delay").write_text("soon")
    assert delay_seconds(tmp_path / "mail-delay") == 0


def test_there_is_nothing_to_delay_without_a_home(tmp_path: Path) -> None:
    with pytest.raises(NotRunning):
        set_delay(StackDirectory(tmp_path / "nowhere"), 1)
