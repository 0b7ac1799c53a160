"""Which tests `fanout test` runs, and what becomes of their exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanout.commands import test as test_command
from fanout.errors import BadUsage, UnknownService
from fanout.repository import services
from tests.support.stack import REPOSITORY


def test_the_tests_of_a_service_are_those_in_its_folder_and_those_named_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        "services/fraud/test_more.py",
        "tests/unit/test_domain_fraud.py",
        "tests/integration/test_api_fraud_2.py",
    ]
    for file in [*found, "services/orders/test_orders.py", "tests/unit/test_domain_orders.py"]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    monkeypatch.setattr(test_command, "REPOSITORY", tmp_path)
    assert test_command._files("fraud") == found


@pytest.mark.parametrize("name", services())
def test_every_service_has_tests(name: str) -> None:
    assert test_command._files(name)


def test_an_unknown_service_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownService, match="no service nobody; there are analytics, "):
        test_command._files("nobody")


def test_a_service_without_tests_is_said_where_to_write_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_command, "REPOSITORY", tmp_path)
    with pytest.raises(BadUsage, match=r"fraud has no tests: write services/fraud/test_fraud\.py"):
        test_command._files("fraud")


def test_without_a_stack_there_is_a_temporary_postgres_and_the_exit_code_is_pytests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fanout", "test", "fraud", "--", "--collect-only", "-k"]
    environment = os.environ | {"FANOUT_HOME": str(tmp_path / "none")}
    codes = {}
    for chosen in ("fraud", "nothing_is_called_so"):
        done = subprocess.run(
            [*command, chosen], cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        assert "the tests get a temporary Postgres" in done.stderr
        assert ("test_domain_fraud.py::" in done.stdout) is (chosen == "fraud"), done.stdout
        codes[chosen] = done.returncode
    assert codes == {"fraud": 0, "nothing_is_called_so": 5}
