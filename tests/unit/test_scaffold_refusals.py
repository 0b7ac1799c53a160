"""Names and events that `fanout new-consumer` refuses, each with a sentence that lists what there is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanout.errors import BadUsage
from fanout.repository import services
from fanout.scaffold import consumer
from tests.support.stack import REPOSITORY

NEW_CODE = consumer.words(consumer.stored_events(["OrderConfirmed"]))


@pytest.mark.parametrize(
    "name",
    ["", "x", "Loyalty", "2nd", "_hidden", "with-hyphen", "with.dot", "../up", "a" * 42, "é" * 3],
)
def test_what_cannot_be_a_folder_a_module_and_a_database_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="lower-case"):
        consumer.require_free(name, set())


@pytest.mark.parametrize("name", ["class", "async", "order", "user", "pg_catalog", "template0", "public"])
def test_words_of_python_and_postgres_are_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="means something"):
        consumer.require_free(name, set())


@pytest.mark.parametrize("name", ["insert", "events", "handle", "confirmed_orders", "db"])
def test_a_name_that_the_new_code_uses_itself_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="the new code"):
        consumer.require_free(name, NEW_CODE)


@pytest.mark.parametrize("name", services())
def test_a_service_that_exists_is_answered_with_all_of_them(name: str) -> None:
    with pytest.raises(BadUsage, match=", ".join(services())):
        consumer.require_free(name, set())


@pytest.mark.parametrize("name", ["kafka", "postgres", "registry", "mailbox"])
def test_a_part_of_the_stack_is_answered_with_all_of_them(name: str) -> None:
    with pytest.raises(BadUsage, match="guard, kafka, mailbox, postgres"):
        consumer.require_free(name, set())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "REPOSITORY", tmp_path)
    folder = tmp_path / "services" / "newcomer"
    folder.mkdir(parents=True)
    consumer.require_free("newcomer", NEW_CODE)
    (folder / "domain.py").write_text("mine\n")
    with pytest.raises(BadUsage, match="services/newcomer"):
        consumer.require_free("newcomer", NEW_CODE)


def test_an_unknown_event_is_one_sentence_with_every_event_and_its_topic() -> None:
    command = [sys.executable, "-m", "fanout", "new-consumer", "newcomer", "--on", "OrderConfirm"]
    done = subprocess.run(command, cwd=REPOSITORY, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: no event OrderConfirm, did you mean OrderConfirmed; ")
        and done.stderr.count("\n") == 1
    )
    assert "OrderConfirmed (orders)" in done.stderr and "OrderShipped (shipments)" in done.stderr
    assert not (REPOSITORY / "services" / "newcomer").exists()
