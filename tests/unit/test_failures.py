"""An error that no command expected is named by its kind, with what to do, and only a bug is called one."""

import asyncio
import errno
import json
import os
import subprocess
from xmlrpc.client import Fault

import asyncpg
import httpx
import httpx2
import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError
from sqlalchemy.exc import OperationalError

from fanout import cli
from fanout.contracts.registry import open_registry
from fanout.errors import FanoutError, FolderFull, NotRunning
from fanout.failures import explained, kind_of


def system_error(number: int, file: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), file)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "network"),
        (TimeoutError("timed out"), "network"),
        (system_error(errno.EPERM), "network"),
        (httpx.ConnectError("refused"), "network"),
        (httpx2.ConnectError("refused"), "network"),
        (system_error(errno.EACCES, "/a/file"), "permission"),
        (system_error(errno.ENOENT, "/a/file"), "file"),
        (system_error(errno.EISDIR, "/a/file"), "file"),
        (system_error(errno.EMFILE), "limit"),
        (system_error(errno.ENOMEM), "memory"),
        (MemoryError(), "memory"),
        (OperationalError("SELECT 1", {}, Exception("gone")), "database"),
        (asyncpg.PostgresError("gone"), "database"),
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)), "broker"),
        (SchemaRegistryError(404, 40401, "no subject"), "registry"),
        (Fault(50, "SPAWN_ERROR"), "supervisor"),
        (psutil.NoSuchProcess(1), "processes"),
        (subprocess.CalledProcessError(1, ["initdb"]), "program"),
        (KeyError("stock"), "bug"),
        (json.JSONDecodeError("no JSON", "", 0), "bug"),
        (asyncio.InvalidStateError("done"), "bug"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_an_error_is_named_by_its_kind(error: BaseException, word: str) -> None:
    found = explained(error)

    assert kind_of(error).word == word
    assert str(found).startswith(f"{word}: ") and "\n" not in str(found)
    assert str(found).endswith(kind_of(error).remedy)
    assert found.exit_code == (1 if word == "bug" else 2)


def test_a_bug_names_its_class_and_how_to_see_where_it_is() -> None:
    assert str(explained(KeyError("stock"))) == (
        "bug: KeyError: 'stock': FANOUT_DEBUG=1 shows where; please report it"
    )


def test_a_sentence_stays_as_it_is_also_in_a_group() -> None:
    sentence = NotRunning()
    assert explained(sentence) is sentence
    assert explained(ExceptionGroup("several", [sentence, ValueError("a consequence")])) is sentence
    assert isinstance(explained(system_error(errno.ENOSPC)), FolderFull)


def test_an_unexpected_error_of_a_command_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: object) -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused\nat the door")

    monkeypatch.setattr(cli, "_app", refused)

    assert cli._run(["up"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: network: ") and said.count("\n") == 1


def test_a_registry_that_answers_404_to_everything_is_a_sentence() -> None:
    """`fanout schemas diff` asks it for subjects and levels."""

    def not_found(registry: SchemaRegistryClient) -> None:
        raise SchemaRegistryError(404, 40408, "Subject 'x' does not have subject-level compatibility")

    refusal = (
        r"^the schema registry at http://localhost:9 refuses: Subject 'x' does not have .* \(404\): fanout"
    )
    with pytest.raises(FanoutError, match=refusal), open_registry("http://localhost:9") as registry:
        not_found(registry)
